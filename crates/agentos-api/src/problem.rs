//! Errors as they cross the socket: RFC 9457 problems with a stable code and a sentence that says what to do.

use std::borrow::Cow;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A stable, machine-readable name of what went wrong. Callers match on this, never on the prose beside it.
///
/// [`Code::ALL`] lists every code this version sends, with its HTTP status and meaning; a client of another version may
/// meet one that is not there.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct Code(Cow<'static, str>);

/// One row of the table of codes: what it is called, the status it is sent with, its short title.
#[derive(Clone, Copy, Debug)]
pub struct CodeDescription {
    /// The code as it stands in the body.
    pub code: &'static str,
    /// The HTTP status (RFC 9110).
    pub status: u16,
    /// The `title` member of the problem: the same for each occurrence.
    pub title: &'static str,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $status:literal, $title:literal;)*) => {
        impl Code {
            $($(#[$doc])* pub const $name: Code = Code(Cow::Borrowed($code));)*

            /// Every code this version sends, by status.
            pub const ALL: &'static [CodeDescription] =
                &[$(CodeDescription { code: $code, status: $status, title: $title }),*];
        }
    };
}

codes! {
    /// The request line, a header or the body cannot be parsed.
    MALFORMED_REQUEST = "malformed_request", 400, "The request cannot be parsed";
    /// The caller's principal may not do this, or not on this socket.
    FORBIDDEN = "forbidden", 403, "Not allowed for this caller";
    /// A rule of the policy keeps this from the caller. Asking again changes nothing.
    POLICY_DENIED = "policy_denied", 403, "The policy denies this";
    /// A rule of the policy wants a person's yes to this question; `approval` is the number under which it waits for it.
    APPROVAL_REQUIRED = "approval_required", 403, "A person has to say yes first";
    /// A person said no to this question; `detail` has their reason.
    APPROVAL_DENIED = "approval_denied", 403, "A person said no";
    /// There is no query of this name.
    UNKNOWN_QUERY = "unknown_query", 404, "No such query";
    /// There is no route at this path.
    UNKNOWN_ROUTE = "unknown_route", 404, "No such route";
    /// The route exists and the thing asked for does not.
    NOT_FOUND = "not_found", 404, "Not found";
    /// There is no mutation of this name.
    UNKNOWN_MUTATION = "unknown_mutation", 404, "No such mutation";
    /// The route exists for another method.
    METHOD_NOT_ALLOWED = "method_not_allowed", 405, "Method not allowed";
    /// The body did not arrive in time.
    REQUEST_TIMEOUT = "request_timeout", 408, "The request took too long to arrive";
    /// Where the change stands, this cannot be done with it: approved, denied or undone already.
    CHANGE_STANDS = "change_stands", 409, "The change does not stand so";
    /// The plan is another one than the one that was looked at.
    PLAN_CHANGED = "plan_changed", 409, "Another plan";
    /// The machine is not as it was when this was planned.
    PLAN_MOVED = "plan_moved", 409, "The machine moved under the plan";
    /// The machine refused the change; what had been made of it was taken back, unless `detail` says otherwise.
    CHANGE_FAILED = "change_failed", 409, "The change failed";
    /// It cannot be done to this thing, whoever asks.
    CHANGE_REFUSED = "change_refused", 409, "This cannot be changed so";
    /// Later changes build on this one.
    CHANGE_HAS_DEPENDENTS = "change_has_dependents", 409, "Later changes build on it";
    /// A confirmation has to come over a connection made after the change, from a login that began after it.
    NOT_FRESH = "not_fresh", 409, "Not from a new login";
    /// A checkpoint that this ledger signed does not agree with what it holds.
    CHECKPOINT_MISMATCH = "checkpoint_mismatch", 409, "The ledger does not hold this";
    /// What the change replaced is not kept any more.
    CONTENT_NOT_KEPT = "content_not_kept", 410, "Not kept any more";
    /// The body, or a value in it, is larger than what is read.
    TOO_LARGE = "too_large", 413, "Too large";
    /// The body is not `application/json`.
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type", 415, "Unsupported media type";
    /// An argument has the wrong type, is out of range, is missing or is unknown; `field` names it.
    INVALID_ARGUMENT = "invalid_argument", 422, "Invalid argument";
    /// The caller has asked for as much as the policy's quotas let it. `retry_after` says when there is room again.
    QUOTA_REACHED = "quota_reached", 429, "A quota is reached";
    /// agentd reached a state it should not reach. It is logged; nothing was lost.
    INTERNAL = "internal", 500, "Internal error";
    /// The ledger cannot be written, so nothing was done.
    LEDGER_UNAVAILABLE = "ledger_unavailable", 503, "The ledger cannot be written";
    /// Too many requests wait already.
    BUSY = "busy", 503, "Too busy";
    /// systemd does not run on this machine, or does not answer.
    SYSTEMD_UNAVAILABLE = "systemd_unavailable", 503, "systemd is not available";
    /// The journal cannot be read here.
    JOURNAL_UNAVAILABLE = "journal_unavailable", 503, "The journal is not available";
    /// The program or kernel interface behind the packet filter is missing.
    NFT_UNAVAILABLE = "nft_unavailable", 503, "nftables is not available";
    /// No unified (version 2) control-group hierarchy is mounted.
    CGROUP2_UNAVAILABLE = "cgroup2_unavailable", 503, "cgroup v2 is not available";
    /// The kernel was built or booted without pressure stall information.
    PRESSURE_UNAVAILABLE = "pressure_unavailable", 503, "Pressure information is not available";
    /// No package database that agentd knows is on this machine.
    PACKAGES_UNAVAILABLE = "packages_unavailable", 503, "No package database";
    /// The store or the database of changes cannot be used.
    CHANGES_UNAVAILABLE = "changes_unavailable", 503, "Changes are not available";
    /// The memory directory or its index cannot be used.
    MEMORY_UNAVAILABLE = "memory_unavailable", 503, "The memory is not available";
    /// Something else that this answer needs is missing on this machine.
    UNAVAILABLE = "unavailable", 503, "Not available on this machine";
    /// The machine did not answer in time.
    TIMED_OUT = "timed_out", 504, "The machine did not answer in time";
}

impl Code {
    /// The code as it stands in the body.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its row in the table; `None` for a code of another version.
    pub fn description(&self) -> Option<&'static CodeDescription> {
        Self::ALL.iter().find(|row| row.code == self.0)
    }

    /// The code of that name, if this version sends it.
    pub fn known(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|row| row.code == name).map(|row| Self(Cow::Borrowed(row.code)))
    }
}

impl fmt::Display for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// An error as RFC 9457 lays it out, with the members that AgentOS adds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[error("{detail} ({code})")]
pub struct Problem {
    /// `urn:agentos:problem:` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// What this code means, the same each time.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened this time, on which object, in one or two sentences.
    pub detail: String,
    /// The stable name of the error.
    pub code: Code,
    /// The argument at fault, as a path into the request (`args.limit`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Names close to the one that was not found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub near: Vec<String>,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The number under which this waits for a person's yes, or was refused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<u64>,
    /// In how many seconds it is worth asking again; also in the header `Retry-After` (RFC 9110, section 10.2.3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
}

impl Problem {
    /// A problem of that code, with its title and status from the table.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let (status, title) = code.description().map_or((500, "Error"), |row| (row.status, row.title));
        Self {
            kind: format!("urn:agentos:problem:{code}"),
            title: title.to_owned(),
            status,
            detail: detail.into(),
            code,
            field: None,
            near: Vec::new(),
            hint: None,
            approval: None,
            retry_after: None,
        }
    }

    /// Names the argument at fault.
    pub fn with_field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// Adds what to do next.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the number under which it waits.
    pub const fn with_approval(mut self, number: Option<u64>) -> Self {
        self.approval = number;
        self
    }

    /// Adds in how many seconds it is worth asking again.
    pub const fn with_retry_after(mut self, seconds: Option<u64>) -> Self {
        self.retry_after = seconds;
        self
    }

    /// Adds names close to the one that was not found.
    pub fn with_near(mut self, near: Vec<String>) -> Self {
        self.near = near;
        self
    }
}

/// The names among `known` that `name` was probably meant to be: at most three, best first.
pub fn near_matches<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    // Names longer than any real one are not worth comparing: the cost is the product of both lengths.
    if name.len() > 128 {
        return Vec::new();
    }
    let wanted = name.to_lowercase();
    let mut scored: Vec<(f64, &str)> = known
        .into_iter()
        .map(|candidate| {
            let lower = candidate.to_lowercase();
            let contained = wanted.len() >= 3 && (lower.contains(&wanted) || wanted.contains(&lower));
            let score = strsim::jaro_winkler(&wanted, &lower) + if contained { 0.5 } else { 0.0 };
            (score, candidate)
        })
        .filter(|(score, _)| *score > 0.75)
        .collect();
    scored.sort_by(|(left, a), (right, b)| right.total_cmp(left).then_with(|| a.cmp(b)));
    scored.into_iter().take(3).map(|(_, candidate)| candidate.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_stands_once_and_has_an_error_status() {
        for row in Code::ALL {
            assert!((400..600).contains(&row.status), "{}", row.code);
            assert_eq!(Code::ALL.iter().filter(|other| other.code == row.code).count(), 1, "{}", row.code);
        }
    }

    #[test]
    fn a_problem_survives_the_wire() {
        let problem =
            Problem::new(Code::INVALID_ARGUMENT, "limit must be from 1 to 1000").with_field("args.limit");
        let json = serde_json::to_string(&problem).unwrap();
        assert_eq!(serde_json::from_str::<Problem>(&json).unwrap(), problem);
        assert_eq!(problem.status, 422);
    }

    #[test]
    fn a_code_of_a_later_version_is_kept() {
        let code: Code = serde_json::from_str("\"moon_is_full\"").unwrap();
        assert_eq!(code.as_str(), "moon_is_full");
        assert!(code.description().is_none());
    }

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let known = ["processes", "process", "services", "journal", "listeners"];
        assert_eq!(near_matches("procesess", known)[0], "processes");
        assert_eq!(near_matches("service", known), ["services"]);
        assert!(near_matches("zzz", known).is_empty());
        assert!(near_matches(&"a".repeat(10_000), known).is_empty());
    }
}
