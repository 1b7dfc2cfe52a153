//! `/proc/PID/cgroup`, and the systemd unit that a control-group path stands for.
//!
//! On a machine with both versions of control groups the file has a line per version 1 hierarchy as well. systemd tracks
//! its units in the unified hierarchy, so only the line `0::` is read.

/// The path in the unified hierarchy, such as `/system.slice/nginx.service`; `None` where there is no such line.
pub(crate) fn unified_path(content: &[u8]) -> Option<&[u8]> {
    content.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(b"0::"))
}

/// The system unit a path belongs to, as systemd finds it (systemd's `cg_path_get_unit`): slices are passed over, the
/// first component below them that is a unit names it.
pub(crate) fn unit_of(path: &[u8]) -> Option<String> {
    let mut components = path.split(|&byte| byte == b'/').filter(|component| !component.is_empty());
    let first = components.find(|component| !is_slice(component))?;
    unit_name(first)
}

/// The unit of a user's own service manager: the first unit below `user@UID.service` and its slices.
pub(crate) fn user_unit_of(path: &[u8]) -> Option<String> {
    let mut components = path.split(|&byte| byte == b'/').filter(|component| !component.is_empty());
    components.find(|component| component.starts_with(b"user@") && component.ends_with(b".service"))?;
    unit_name(components.find(|component| !is_slice(component))?)
}

fn is_slice(component: &[u8]) -> bool {
    component.ends_with(b".slice")
}

fn unit_name(component: &[u8]) -> Option<String> {
    // systemd puts an underscore before a name that would look like a file of the kernel's.
    let name = component.strip_prefix(b"_").unwrap_or(component);
    let known = [b".service".as_slice(), b".scope", b".socket", b".mount", b".swap"];
    let is_unit = known.iter().any(|suffix| name.len() > suffix.len() && name.ends_with(suffix));
    is_unit.then(|| String::from_utf8_lossy(name).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_the_unified_line_is_read() {
        let hybrid = b"9:name=systemd:/elsewhere.service\n4:memory:/x\n0::/system.slice/cron.service\n";
        assert_eq!(unified_path(hybrid).unwrap(), b"/system.slice/cron.service");
        assert_eq!(unified_path(b"4:memory:/x\n"), None);
    }

    #[test]
    fn the_unit_is_the_first_below_the_slices() {
        for (path, unit, user_unit) in [
            ("/system.slice/nginx.service", Some("nginx.service"), None),
            ("/system.slice/system-getty.slice/getty@tty1.service", Some("getty@tty1.service"), None),
            ("/init.scope", Some("init.scope"), None),
            ("/user.slice/user-1000.slice/session-3.scope", Some("session-3.scope"), None),
            (
                "/user.slice/user-1000.slice/user@1000.service/app.slice/foot.service",
                Some("user@1000.service"),
                Some("foot.service"),
            ),
            ("/system.slice/agentd.service/run/7", Some("agentd.service"), None),
            ("/system.slice/_memory.service", Some("memory.service"), None),
            ("/docker/0123abc", None, None),
            ("/user.slice", None, None),
            ("/", None, None),
            ("", None, None),
            ("/.service", None, None),
        ] {
            assert_eq!(unit_of(path.as_bytes()).as_deref(), unit, "{path}");
            assert_eq!(user_unit_of(path.as_bytes()).as_deref(), user_unit, "{path}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(content: Vec<u8>) {
            if let Some(path) = unified_path(&content) {
                let _ = (unit_of(path), user_unit_of(path));
            }
        }

        #[test]
        fn a_unit_is_found_below_any_number_of_slices(slices in proptest::collection::vec("[a-z]{1,8}\\.slice", 0..5), unit in "[a-z][a-z0-9@:.-]{0,20}\\.service") {
            let path = format!("/{}/{unit}", slices.join("/"));
            prop_assert_eq!(unit_of(path.as_bytes()), Some(unit));
        }
    }
}
