//! `timezone.set`: the link `/etc/localtime` (localtime(5)), and Debian's `/etc/timezone` beside it.

use agentos_api::change::Risk;
use agentos_api::mutation::timezone as api;

use super::files;
use crate::QueryError;
use crate::change::Plan;
use crate::change::error::ChangeError;
use crate::change::file::FileState;
use crate::change::planner::Planner;

const ZONES: &str = "/usr/share/zoneinfo";
const LINK: &str = "/etc/localtime";
const NAME: &str = "/etc/timezone";

fn check(zone: &str) -> Result<(), ChangeError> {
    let part = |part: &str| {
        !part.is_empty()
            && !part.starts_with(['-', '.'])
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'+'))
    };
    if zone.len() <= 64 && zone.split('/').all(part) {
        Ok(())
    } else {
        Err(ChangeError::invalid("zone", "is no name of a time zone, such as Europe/Berlin or UTC"))
    }
}

impl Plan for api::Set {
    fn check(args: &api::SetArgs) -> Result<(), ChangeError> {
        check(&args.zone)
    }

    fn plan(planner: &mut Planner<'_>, args: api::SetArgs) -> Result<(), ChangeError> {
        let file = format!("{ZONES}/{}", args.zone);
        let begins = crate::procfs::read_at(rustix::fs::CWD, &file, 4).unwrap_or_default();
        // Each file of the database begins so (RFC 8536).
        if begins != b"TZif" {
            return Err(QueryError::not_found(format!("the time zone {}, a file {file},", args.zone)).into());
        }
        planner.risk(Risk::Medium);
        planner.summary(format!("Sets the time zone to {}", args.zone));
        let relative = format!("..{file}");
        let now = files::target(planner, LINK)?;
        if now.as_deref() != Some(file.as_str()) {
            let replaces =
                |state: &FileState| matches!(state, FileState::Link { .. } | FileState::File { .. });
            files::link(planner, LINK, &relative, replaces)?;
        }
        if files::read(planner, NAME)?.is_some() {
            files::text(planner, NAME, &format!("{}\n", args.zone))?;
        }
        planner.not_covered(
            "programs that run keep the zone that they started with; a restart of a service tells it",
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_leads_out_of_no_folder() {
        for zone in ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+5"] {
            assert!(check(zone).is_ok(), "{zone}");
        }
        for zone in ["", "/etc/passwd", "../../../etc/passwd", "a//b", "a\0b", "-x", "a b"] {
            assert!(check(zone).is_err(), "{zone:?}");
        }
    }
}
