//! Kernel settings below `/proc/sys`, named as sysctl(8) names them.

use agentos_api::query::Sysctl;
use agentos_api::query::sysctl::{Args, Output, Setting};
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, openat};

use crate::QueryError;
use crate::dispatch::Read;
use crate::files::glob::Glob;
use crate::machine::{Machine, Viewer};
use crate::procfs::read_at;
use crate::text::lossy;

/// Longest value that is shown, in bytes.
const LONGEST_VALUE: usize = 4096;
/// Settings that are looked at, at most. A machine with a thousand network interfaces has some 100,000.
const MOST: usize = 200_000;
/// Levels below `/proc/sys`; the kernel's deepest settings are at seven.
const MOST_LEVELS: usize = 16;

/// Not listed: reading it acts, or it holds what is not a setting.
const LEFT_OUT: [&str; 2] = ["vm.stat_refresh", "fs.binfmt_misc"];

impl Read for Sysctl {
    fn check(args: &Args) -> Result<(), QueryError> {
        args.name.as_deref().map(Wanted::new).transpose()?;
        Ok(())
    }

    fn read(_machine: &Machine, _viewer: Viewer, args: Args) -> Result<Output, QueryError> {
        let wanted = args.name.as_deref().map(Wanted::new).transpose()?;
        let root = directory(CWD, c"/proc/sys").map_err(|error| QueryError::io("/proc/sys", error))?;
        let mut names = Vec::new();
        collect(root, "", MOST_LEVELS, &mut names);
        names.retain(|name| {
            wanted.as_ref().is_none_or(|wanted| wanted.takes(name))
                && args.after.as_ref().is_none_or(|after| name > after)
        });
        names.sort();
        if let (true, None, Some(name)) = (names.is_empty(), &args.after, &args.name)
            && wanted.is_some_and(|wanted| !wanted.glob.is_wild())
        {
            return Err(QueryError::not_found(format!("the setting {name}")));
        }
        let limit = args.limit.as_usize();
        let next_after = if names.len() > limit { names.get(limit - 1).cloned() } else { None };
        names.truncate(limit);
        Ok(Output { settings: names.into_iter().map(setting).collect(), next_after })
    }
}

/// Which names were asked for.
struct Wanted {
    glob: Glob,
    /// The name and a dot: what stands below a plain name is wanted too.
    prefix: String,
}

impl Wanted {
    fn new(name: &str) -> Result<Self, QueryError> {
        Ok(Self { glob: Glob::new(name, "name")?, prefix: format!("{name}.") })
    }

    fn takes(&self, name: &str) -> bool {
        self.glob.matches(name.as_bytes()) || (!self.glob.is_wild() && name.starts_with(&self.prefix))
    }
}

fn directory(at: impl rustix::fd::AsFd, name: &std::ffi::CStr) -> Result<OwnedFd, rustix::io::Errno> {
    openat(at, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())
}

/// The names of all settings below an open directory.
fn collect(root: OwnedFd, prefix: &str, levels: usize, names: &mut Vec<String>) {
    let Ok(mut entries) = Dir::new(root) else { return };
    while let Some(Ok(entry)) = entries.read() {
        let file = entry.file_name();
        if matches!(file.to_bytes(), b"." | b"..") || names.len() >= MOST {
            continue;
        }
        // A dot in a part of the name is written as a slash, and so the two remain apart.
        let part = lossy(file.to_bytes()).replace('.', "/");
        let name = if prefix.is_empty() { part } else { format!("{prefix}.{part}") };
        if LEFT_OUT.contains(&name.as_str()) {
            continue;
        }
        if entry.file_type() == FileType::Directory {
            if levels > 0
                && let Ok(fd) = entries.fd()
                && let Ok(below) = directory(fd, file)
            {
                collect(below, &name, levels - 1, names);
            }
        } else {
            names.push(name);
        }
    }
}

fn setting(name: String) -> Setting {
    let value = read_at(CWD, &path_of(&name), LONGEST_VALUE).ok().map(|value| lossy(value.trim_ascii_end()));
    Setting { name, value }
}

/// The file of a setting.
pub(crate) fn path_of(name: &str) -> String {
    let swapped: String = name
        .chars()
        .map(|character| match character {
            '.' => '/',
            '/' => '.',
            other => other,
        })
        .collect();
    format!("/proc/sys/{swapped}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(args: &str) -> Result<Output, QueryError> {
        let machine = Machine::new(crate::MachineOptions::default());
        let bytes = machine.query("sysctl", args.as_bytes(), Viewer::default())?;
        Ok(serde_json::from_slice(&bytes).unwrap())
    }

    #[test]
    fn one_setting_has_the_value_of_its_file() {
        let output = ask(r#"{"name":"vm.swappiness"}"#).unwrap();
        let value = std::fs::read_to_string("/proc/sys/vm/swappiness").unwrap();
        assert_eq!(output.settings.len(), 1);
        assert_eq!(output.settings[0].value.as_deref(), Some(value.trim()));
    }

    #[test]
    fn a_name_takes_all_below_it_and_a_pattern_what_matches() {
        let below = ask(r#"{"name":"net.ipv4.conf.lo"}"#).unwrap();
        assert!(below.settings.len() > 10);
        assert!(below.settings.iter().all(|setting| setting.name.starts_with("net.ipv4.conf.lo.")));
        let pattern = ask(r#"{"name":"kernel.*random*"}"#).unwrap();
        assert!(pattern.settings.iter().any(|setting| setting.name == "kernel.randomize_va_space"));
        assert!(matches!(ask(r#"{"name":"no.such.setting"}"#), Err(QueryError::NotFound { .. })));
    }

    #[test]
    fn pages_put_together_are_the_whole() {
        let whole = ask(r#"{"name":"kernel","limit":1000}"#).unwrap().settings.len();
        let (mut seen, mut after) = (0, String::new());
        loop {
            let page = ask(&format!(r#"{{"name":"kernel","limit":30{after}}}"#)).unwrap();
            seen += page.settings.len();
            match page.next_after {
                Some(next) => after = format!(r#","after":"{next}""#),
                None => break,
            }
        }
        assert_eq!(seen, whole);
    }

    #[test]
    fn a_dot_in_a_part_of_a_name_is_kept_apart() {
        assert_eq!(
            path_of("net.ipv4.conf.eth0/100.forwarding"),
            "/proc/sys/net/ipv4/conf/eth0.100/forwarding"
        );
    }

    #[test]
    fn wrong_arguments_are_refused_by_name() {
        for (args, wrong) in [
            (r#"{"limit":0}"#, "limit"),
            (r#"{"limit":-1}"#, "limit"),
            (r#"{"limit":1000000000}"#, "limit"),
            (r#"{"name":"["}"#, "name"),
        ] {
            match ask(args) {
                Err(QueryError::InvalidArgument { field, .. }) => assert_eq!(field, wrong),
                other => panic!("{args}: {other:?}"),
            }
        }
    }
}
