//! Which rule decides, what is refused as a policy, and what the policy that ships keeps from the agent.

use agentos_policy::{
    DEFAULT, Decision, Moment, Origin, Policy, PolicyError, Rates, Request, Role, Subject, Verdict,
    path_argument,
};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const ALLOWED: Verdict = Verdict::Allow { mask: true };

fn policy(text: &str) -> Policy {
    Policy::parse(text).unwrap_or_else(|error| panic!("{error}"))
}

fn arguments(value: &Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

/// The decision for the agent's query with these arguments; more names of the file than its argument says in `more`.
fn decide_as(policy: &Policy, actor: &str, query: &str, args: &Value, more: &[&str]) -> Decision {
    let arguments = arguments(args);
    let mut paths: Vec<Vec<u8>> = path_argument(&arguments).into_iter().collect();
    paths.extend(more.iter().map(|path| path.as_bytes().to_vec()));
    let role = if actor.starts_with("operator") { Role::Operator } else { Role::Agent };
    let moment = Moment { weekday: 2, minute: 600, seconds: 0 };
    let subject = Subject::Query(query);
    let request = Request { role, actor, subject, arguments: &arguments, paths: &paths, units: &[], moment };
    policy.decide(&request, &mut Rates::default(), None)
}

fn decide(policy: &Policy, query: &str, args: &Value) -> Decision {
    decide_as(policy, "agent:openclaw/main", query, args, &[])
}

fn file(policy: &Policy, names: &[&str]) -> Verdict {
    decide_as(policy, "agent:openclaw", "file", &json!({ "path": names[0] }), &names[1..]).verdict
}

#[test]
fn the_first_rule_that_matches_decides_and_is_named() {
    let policy = policy(
        "[[rule]]\nname = \"notes\"\npath = \"/srv/notes/**\"\nthen = \"allow\"\n\n\
         [[rule]]\npath = [\"/srv/**\", \"/opt/**\"]\nthen = \"deny\"\nreason = \"It is the firm's.\"\n",
    );
    let decision = decide(&policy, "file", &json!({ "path": "/srv/notes/a" }));
    assert_eq!(decision.verdict, ALLOWED);
    assert_eq!(decision.rule.unwrap().name.as_deref(), Some("notes"));
    let decision = decide(&policy, "directory", &json!({ "path": "/opt//./x" }));
    assert_eq!((decision.verdict, decision.reason.as_deref()), (Verdict::Deny, Some("It is the firm's.")));
    let rule = decision.rule.unwrap();
    assert_eq!((rule.origin, rule.number, rule.line), (Origin::File, 2, 6));
    assert_eq!(rule.to_string(), "rule 2 (line 6)");
    assert_eq!(decide(&policy, "file", &json!({ "path": "/etc/hosts" })).rule, None);
    assert_eq!(decide(&policy, "os", &json!({})).verdict, ALLOWED, "it has no path");
}

#[test]
fn what_keeps_a_file_takes_it_by_any_name_and_what_allows_by_all() {
    let policy = policy(
        "[[rule]]\npath = \"/srv/**\"\nthen = \"allow\"\nmask = false\n[[rule]]\npath = \"/etc/shadow\"\nthen = \"deny\"",
    );
    assert_eq!(file(&policy, &["/srv/x"]), Verdict::Allow { mask: false });
    assert_eq!(file(&policy, &["/srv/link", "/etc/shadow"]), Verdict::Deny);
    assert_eq!(file(&policy, &["/tmp/link", "/srv/x", "/etc/shadow"]), Verdict::Deny);
    assert_eq!(file(&policy, &["/srv/link", "/tmp/x"]), ALLOWED, "not what the first rule allows");
}

#[test]
fn each_matcher_counts_and_all_of_them_must_fit() {
    let policy = policy(
        r#"
        [[rule]]
        name = "user"
        principal = "agent:other*"
        then = "deny"
        [[rule]]
        name = "unit"
        query = ["journal", "serv*"]
        unit = ["nginx.service", "db-*.socket"]
        then = "deny"
        [[rule]]
        name = "argument"
        query = "processes"
        argument = { user = "ro?t", limit = "1000" }
        then = "ask"
        [[rule]]
        name = "time"
        query = "os"
        time = { from = "09:00", to = "11:00", days = ["wed"] }
        then = "deny"
        [[rule]]
        name = "other time"
        query = "time"
        time = { from = "10:01" }
        then = "deny"
        "#,
    );
    let by = |query: &str, args: Value| {
        decide(&policy, query, &args).rule.and_then(|rule| rule.name).unwrap_or_default()
    };
    assert_eq!(by("journal", json!({ "unit": "nginx" })), "unit");
    assert_eq!(by("service", json!({ "unit": "db-1.socket" })), "unit");
    assert_eq!(by("journal", json!({ "unit": "ssh" })), "");
    assert_eq!(by("journal", json!({})), "", "it asks about no unit");
    assert_eq!(by("timers", json!({ "unit": "nginx" })), "");
    assert_eq!(by("processes", json!({ "user": "root", "limit": 1000 })), "argument");
    assert_eq!(by("processes", json!({ "user": "root" })), "");
    assert_eq!(by("os", json!({})), "time");
    assert_eq!(by("time", json!({})), "");
    let other = decide_as(&policy, "agent:other/x", "os", &json!({}), &[]);
    assert_eq!(other.rule.unwrap().name.as_deref(), Some("user"));
}

#[test]
fn ask_is_a_yes_for_the_operator_and_nothing_is_masked_there() {
    let policy =
        policy("[[rule]]\npath = \"/srv/**\"\nthen = \"ask\"\n[[rule]]\nquery = \"os\"\nthen = \"deny\"");
    let args = json!({ "path": "/srv/x" });
    assert_eq!(decide(&policy, "file", &args).verdict, Verdict::Ask);
    let operator = |query, args: &Value| decide_as(&policy, "operator:anna", query, args, &[]).verdict;
    assert_eq!(operator("file", &args), Verdict::Allow { mask: false });
    assert_eq!(operator("file", &json!({ "path": "/etc/hosts" })), Verdict::Allow { mask: false });
    assert_eq!(operator("os", &json!({})), Verdict::Deny, "a rule without a principal is for everybody");
}

#[test]
fn over_its_rate_a_rule_leaves_it_to_those_below() {
    let policy = policy(
        "[[rule]]\nquery = \"os\"\nrate = \"2/minute\"\nthen = \"allow\"\n[[rule]]\nquery = \"os\"\nthen = \"deny\"",
    );
    let (mut rates, arguments) = (Rates::default(), Map::new());
    let mut ask = |seconds, before: Option<&Decision>| {
        let moment = Moment { weekday: 0, minute: 0, seconds };
        let request = Request {
            role: Role::Agent,
            actor: "agent:x",
            subject: Subject::Query("os"),
            arguments: &arguments,
            paths: &[],
            units: &[],
            moment,
        };
        policy.decide(&request, &mut rates, before)
    };
    let first = ask(0, None);
    assert_eq!(ask(0, Some(&first)).verdict, ALLOWED, "a second look is not a second request");
    assert_eq!(ask(30, None).verdict, ALLOWED);
    assert_eq!(ask(59, None).verdict, Verdict::Deny);
    assert_eq!(ask(60, None).verdict, ALLOWED);
    assert_eq!(ask(61, None).verdict, Verdict::Deny);
}

#[test]
fn each_error_has_its_place_and_says_what_would_be_right() {
    for (text, line, column, said) in [
        ("[[rule]]\nthen = \"alow\"", 2, 8, "\"allow\""),
        ("[[rule]]\nthen = ", 2, 8, ""),
        ("[[rule]]\nthem = \"deny\"", 2, 1, "did you mean then"),
        ("[[rule]]\nthen = \"deny\"\nmutation = \"file.wriet\"", 3, 12, "close to it: file.write"),
        ("[[rule]]\nthen = \"deny\"\nmutation = [\"file.*\",\n \"reboot\"]", 4, 2, "there is no mutation"),
        ("[[rule]]\nthen = \"deny\"\nrisk = [\"low\", \"meduim\"]", 3, 16, "did you mean medium?"),
        ("[[rule]]\nthen = \"deny\"\nrisk = \"*\"", 3, 8, "there are: read, low, medium, destructive"),
        ("[[rule]]\nthen = \"deny\"\nquery = \"file\"\nrisk = \"low\"", 4, 8, "one for each"),
        ("[[rule]]\nthen = \"allow\"\nrisk = \"low\"\nmask = false", 4, 8, "reading"),
        ("[[rule]]\nthen = \"deny\"\noperator_only = true", 3, 17, "asks"),
        ("[[rule]]\nthen = \"ask\"\noperator_olny = true", 3, 1, "did you mean operator_only"),
        ("quota = 1", 1, 9, "[quota.agent]"),
        ("[quota]\ncalls_per_minute = 1", 2, 1, "[quota.agent]"),
        ("[quota.agnet]\ncalls_per_minute = 1", 1, 8, "did you mean agent"),
        ("[quota.\"agent:a/b\"]\ncalls_per_minute = 1", 1, 8, "a user below it"),
        ("[quota.agent]\ncals_per_minute = 1", 2, 1, "did you mean calls_per_minute"),
        ("[quota.agent]\ncalls_per_minute = \"1 MiB\"", 2, 20, "whole number"),
        ("[quota.agent]\nbytes_per_day = \"1 MB\"", 2, 17, "512 MiB"),
        ("[quota.agent]\nbytes_per_day = -1", 2, 17, "512 MiB"),
        ("[[rules]]\nthen = \"deny\"", 1, 3, "did you mean rule"),
        ("profile = \"autonomous\"", 1, 1, "there is no key"),
        ("rule = 1", 1, 8, "[[rule]]"),
        ("[[rule]]\nname = \"x\"", 1, 1, "then"),
        ("[[rule]]\nthen = \"deny\"\npath = \"etc/shadow\"", 3, 8, "begins with /"),
        ("[[rule]]\nthen = \"deny\"\npath = [\"/a\",\n  \"/b/../c\"]", 4, 3, ".."),
        ("[[rule]]\nthen = \"deny\"\npath = []", 3, 8, "1 to 64"),
        ("[[rule]]\nthen = \"deny\"\nquery = \"fiel\"", 3, 9, "close to it: file"),
        ("[[rule]]\nthen = \"deny\"\nprincipal = \"agnet\"", 3, 13, "\"agent\""),
        ("[[rule]]\nthen = \"deny\"\nmask = false", 3, 8, "allows"),
        ("[[rule]]\nthen = \"deny\"\nrate = \"3/minute\"", 3, 8, "allows"),
        ("[[rule]]\nthen = \"allow\"\nrate = \"3/day\"", 3, 8, "30/minute"),
        ("[[rule]]\nthen = \"allow\"\nrate = \"1001/hour\"", 3, 8, "1000"),
        ("[[rule]]\nthen = \"deny\"\ntime = { from = \"8:00\" }", 3, 17, "08:30"),
        ("[[rule]]\nthen = \"deny\"\ntime = { days = [\"sunday\"] }", 3, 18, "sun"),
        ("[[rule]]\nthen = \"deny\"\nname = \"a\"\n[[rule]]\nthen = \"deny\"\nname = \"a\"", 4, 1, "line 1"),
        ("# ü\n[[rule]]\nreason = \"ü\" x", 3, 14, ""),
    ] {
        let error: PolicyError = Policy::parse(text).expect_err(text);
        assert_eq!((error.line, error.column), (line, column), "{text}: {error}");
        assert!(error.message.contains(said), "{text}: {error}");
    }
}

#[test]
fn what_is_over_a_bound_is_refused() {
    let rule = "[[rule]]\nthen = \"deny\"\n";
    assert_eq!(policy(&rule.repeat(1000)).rules(), 1000);
    assert!(Policy::parse(&rule.repeat(1001)).unwrap_err().message.contains("1000 rules"));
    let paths: Vec<String> = (0..64).map(|number| format!("\"/a/{number}/**/b*\"")).collect();
    let many = format!("[[rule]]\nthen = \"deny\"\npath = [{}]\n", paths.join(","));
    assert!(Policy::parse(&many.repeat(70)).unwrap_err().message.contains("4096 patterns"));
    let rated = "[[rule]]\nthen = \"allow\"\nrate = \"1/hour\"\n";
    assert!(Policy::parse(&rated.repeat(101)).unwrap_err().message.contains("100 rules"));
    let long = format!("[[rule]]\nthen = \"deny\"\nreason = \"{}\"", "x".repeat(301));
    assert!(Policy::parse(&long).is_err());
}

#[test]
fn a_rule_that_can_never_decide_is_named() {
    let shadowed = |text: &str| policy(text).warnings();
    let warned = |first: &str, second: &str| {
        shadowed(&format!("[[rule]]\n{first}\n[[rule]]\nquery = \"file\"\n{second}"))
            .iter()
            .any(|warning| warning.contains("can never decide"))
    };
    assert!(warned("then = \"allow\"", "path = \"/etc/shadow\"\nthen = \"deny\""));
    assert!(warned(
        "path = \"/etc/**\"\nthen = \"deny\"",
        "path = [\"/etc/a\", \"/etc/b/*.key\"]\nthen = \"allow\""
    ));
    assert!(warned("query = \"f*\"\nthen = \"ask\"", "then = \"deny\""));
    assert!(
        !warned("path = \"/etc/**\"\nthen = \"allow\"", "path = \"/etc/shadow\"\nthen = \"deny\""),
        "by another name"
    );
    assert!(!warned("path = \"/etc/*\"\nthen = \"deny\"", "path = \"/etc/**\"\nthen = \"allow\""));
    assert!(!warned("principal = \"agent\"\nthen = \"deny\"", "then = \"deny\""));
    assert!(!warned("rate = \"1/hour\"\nthen = \"allow\"", "then = \"deny\""));
    let said = shadowed("[[rule]]\nquery = \"zz*\"\nthen = \"deny\"");
    assert_eq!(said, ["rule 1 (line 1): no query fits \"zz*\""]);
    assert_eq!(shadowed(DEFAULT), [""; 0]);
}

/// What `docs/POLICY.md` and the file itself say.
#[test]
fn the_policy_that_ships_keeps_secrets_from_the_agent_and_nothing_else() {
    let policy = policy(DEFAULT);
    for path in [
        "/etc/shadow",
        "/etc/shadow-",
        "/etc/gshadow",
        "/var/backups/shadow.bak",
        "/etc/security/opasswd",
        "/etc/ssh/ssh_host_ed25519_key",
        "/root/.ssh/id_ed25519",
        "/home/anna/.ssh/id_rsa",
        "/home/anna/.ssh/work",
        "/etc/ssl/private/server.pem",
        "/etc/nginx/tls/server.key",
        "/etc/letsencrypt/live/x.org/privkey.pem",
        "/home/anna/.gnupg/private-keys-v1.d/AB.key",
        "/etc/wireguard/wg0.conf",
        "/home/anna/.aws/credentials",
        "/root/.config/gcloud/credentials.db",
        "/root/.azure/x",
        "/home/anna/.kube/config",
        "/root/.docker/config.json",
        "/home/anna/.netrc",
        "/root/.pgpass",
        "/home/a/.git-credentials",
        "/root/.npmrc",
        "/root/.pypirc",
        "/home/a/.cargo/credentials.toml",
        "/home/a/.password-store/x/y.gpg",
        "/home/a/docs/all.kdbx",
        "/home/a/.mozilla/firefox/x.default/logins.json",
        "/home/a/.config/google-chrome/Default/Cookies",
        "/etc/NetworkManager/system-connections/home.nmconnection",
        "/run/credentials/x.service/key",
        // Built in.
        "/etc/agentos/model.env",
        "/etc/agentos/policy.toml",
        "/var/lib/agentos/ledger.key",
        "/var/lib/agentos-gateway/operator.json",
        "/proc/kcore",
        "/proc/1/mem",
        "/proc/1/environ",
        "/proc/7/task/8/environ",
    ] {
        assert_eq!(file(&policy, &[path]), Verdict::Deny, "{path}");
        assert_eq!(
            decide_as(&policy, "operator:x", "file", &json!({ "path": path }), &[]).verdict,
            Verdict::Allow { mask: false }
        );
    }
    for path in [
        "/root/.bash_history",
        "/home/a/.zsh_history",
        "/home/a/.python_history",
        "/etc/sudoers",
        "/etc/sudoers.d/a",
    ] {
        assert_eq!(file(&policy, &[path]), Verdict::Ask, "{path}");
    }
    for path in [
        "/etc/passwd",
        "/etc/hosts",
        "/etc/ssh/sshd_config",
        "/etc/ssh/ssh_host_ed25519_key.pub",
        "/root/.ssh/id_rsa.pub",
        "/home/anna/.ssh/authorized_keys",
        "/etc/ssl/certs/ca-certificates.crt",
        "/var/log/syslog",
        "/proc/1/status",
        "/home/anna/notes.md",
        "/etc/agentos/agentd.toml",
        "/home/a/project/.env",
    ] {
        assert_eq!(file(&policy, &[path]), ALLOWED, "{path}");
    }
    assert_eq!(
        file(&policy, &["/root/.ssh/id_rsa.pub", "/root/.ssh/id_rsa"]),
        Verdict::Deny,
        "a link to the other half"
    );
    assert_eq!(
        decide(&policy, "directory", &json!({ "path": "/root/.ssh" })).verdict,
        ALLOWED,
        "names may be listed"
    );
    assert_eq!(decide(&policy, "find", &json!({ "path": "/etc/ssl/private" })).verdict, ALLOWED);
}

#[test]
fn no_file_takes_the_built_in_rules_away() {
    let policy = policy("[[rule]]\nthen = \"allow\"\nmask = false");
    for path in
        ["/etc/agentos/model.env", "/proc/1/mem", "/var/lib/agentos/ledger.db", "/etc/agentos/policy.toml"]
    {
        let decision = decide(&policy, "file", &json!({ "path": path }));
        assert_eq!(decision.verdict, Verdict::Deny, "{path}");
        assert_eq!(decision.rule.unwrap().origin, Origin::BuiltIn);
    }
    assert_eq!(policy.rules(), 1);
}

#[test]
fn the_text_that_no_file_replaces_is_the_file_that_is_installed() {
    assert!(Policy::built_in_default().unwrap().rules() >= 8);
}

proptest! {
    #[test]
    fn any_text_is_a_policy_or_an_error_in_it(text in "\\PC{0,120}") {
        if let Err(error) = Policy::parse(&text) {
            prop_assert!(error.line >= 1 && error.line <= text.lines().count().max(1) + 1);
        }
    }

    #[test]
    fn more_names_of_a_file_never_open_what_fewer_kept(first in "/(srv|etc)(/[ab]){0,2}", second in "/(srv|etc)(/[ab]){0,2}") {
        let policy = policy(
            "[[rule]]\npath = \"/srv/**\"\nthen = \"allow\"\n[[rule]]\npath = [\"/etc/**\", \"/srv\"]\nthen = \"deny\"",
        );
        if file(&policy, &[&first]) == Verdict::Deny {
            prop_assert_eq!(file(&policy, &[&first, &second]), Verdict::Deny);
            prop_assert_eq!(file(&policy, &[&second, &first]), Verdict::Deny);
        }
    }
}
