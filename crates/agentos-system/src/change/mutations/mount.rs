//! `mount.*` and `swap.*`.

use agentos_api::change::Risk;
use agentos_api::mutation::{mount as api, swap};
use agentos_api::query::path::{AbsolutePath, encode};
use rustix::fs::{FileType, OFlags};

use crate::change::Plan;
use crate::change::entry::{Book, Format};
use crate::change::error::ChangeError;
use crate::change::file::{Place, open_without_links, resolve};
use crate::change::mount::{Mount, Swap, holders, mounts, swaps};
use crate::change::planner::Planner;
use crate::change::protect;
use crate::change::transition::Transition;
use crate::procfs;

/// File systems whose options can be given back as they are listed, and which hold what is on a device.
const KINDS: [&str; 12] =
    ["ext2", "ext3", "ext4", "xfs", "btrfs", "vfat", "exfat", "iso9660", "udf", "squashfs", "f2fs", "ntfs3"];
/// Folders over which nothing is mounted and from which nothing is unmounted: the machine stands on them.
const MACHINES_OWN: [&[u8]; 15] = [
    b"/", b"/bin", b"/boot", b"/dev", b"/etc", b"/lib", b"/lib64", b"/nix", b"/proc", b"/root", b"/run",
    b"/sbin", b"/sys", b"/usr", b"/var",
];
/// Programs that mount what /etc/fstab says do not wait for a device that is gone.
const FSTAB_EXTRA: &str = "nofail";

/// The folder, which may be mounted over by whoever asks.
fn folder(planner: &mut Planner<'_>, path: &AbsolutePath) -> Result<Place, ChangeError> {
    planner.asked_for(path.as_bytes());
    let leads_to =
        resolve(path.as_bytes()).map_err(|error| ChangeError::io(format!("the folder {path}"), error))?;
    if leads_to != path.as_bytes() {
        planner.not_covered(format!("{path} is, or is below, a symbolic link: it is {}", encode(&leads_to)));
    }
    let own = MACHINES_OWN.contains(&leads_to.as_slice())
        || [&b"/dev/"[..], b"/proc/", b"/sys/", b"/run/"].iter().any(|start| leads_to.starts_with(start));
    if own {
        return Err(ChangeError::refused(format!("the machine stands on {}", encode(&leads_to))));
    }
    let path =
        AbsolutePath::new(leads_to).map_err(|error| ChangeError::invalid("target", error.to_string()))?;
    let place = Place::of(&path, |_| false)?;
    planner.asked_for(place.as_bytes());
    // A mount over agentd's folders, or over one that holds them, would be another agentd's state: nobody makes one.
    protect::check_place(planner.machine, &crate::Viewer::default(), &place)?;
    Ok(place)
}

fn fstab(planner: &Planner<'_>) -> Result<Book, ChangeError> {
    let book = Book::at(Format::Fstab, &planner.machine.own_path(b"/etc/fstab")?)?;
    if book.read()?.is_none() {
        return Err(ChangeError::invalid("persist", "there is no /etc/fstab"));
    }
    Ok(book)
}

/// A field of fstab(5): blanks are written as octal numbers.
fn field(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            ' ' => "\\040".to_owned(),
            '\t' => "\\011".to_owned(),
            '\\' => "\\134".to_owned(),
            '#' => "\\043".to_owned(),
            other => other.to_string(),
        })
        .collect()
}

impl Plan for api::Mount {
    fn check(args: &api::MountArgs) -> Result<(), ChangeError> {
        let plain = args.source.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b',');
        if !plain || args.source.is_empty() || args.source.len() > 1024 {
            return Err(ChangeError::invalid(
                "source",
                "must be 1 to 1024 printable ASCII characters without commas",
            ));
        }
        if args.kind == "tmpfs" {
            return Ok(());
        }
        if args.size_bytes.is_some() {
            return Err(ChangeError::invalid("size_bytes", "is for a tmpfs only"));
        }
        if !KINDS.contains(&args.kind.as_str()) {
            return Err(ChangeError::invalid("type", format!("must be one of {}, tmpfs", KINDS.join(", "))));
        }
        if !args.source.starts_with("/dev/") {
            return Err(ChangeError::invalid("source", "must be a device below /dev"));
        }
        Ok(())
    }

    fn plan(planner: &mut Planner<'_>, args: api::MountArgs) -> Result<(), ChangeError> {
        let place = folder(planner, &args.target)?;
        let is_tmpfs = args.kind == "tmpfs";
        let source = if is_tmpfs { args.source.clone() } else { encode(&device(&args.source)?) };
        let mut options = Vec::from(["nosuid", "nodev"]);
        options.extend(args.no_exec.then_some("noexec"));
        options.extend(args.read_only.then_some("ro"));
        let options = options.join(",");
        let data = args.size_bytes.map_or_else(String::new, |size| format!("size={size}"));
        planner.risk(Risk::Medium);
        planner.summary(format!("Mounts {source} ({}) at {}", args.kind, place.text()));
        let there = mounts()?;
        let at = there.iter().rev().find(|mount| mount.point == place.as_bytes());
        if let Some(at) = at {
            let same = encode(&at.source) == source && at.file_system == args.kind.as_bytes();
            if !same {
                return Err(ChangeError::refused(format!(
                    "{} from {} is mounted at {} already",
                    String::from_utf8_lossy(&at.file_system),
                    encode(&at.source),
                    place.text()
                )));
            }
        }
        if at.is_none() {
            if !is_tmpfs && let Some(other) = there.iter().find(|mount| encode(&mount.source) == source) {
                planner.not_covered(format!("it is mounted at {} as well", encode(&other.point)));
            }
            let covered =
                std::fs::read_dir(std::ffi::OsStr::new(&*String::from_utf8_lossy(place.as_bytes())))
                    .map_or(0, |entries| entries.take(1000).count());
            if covered > 0 {
                planner.not_covered(format!(
                    "{covered} things in {} are covered while it is mounted",
                    place.text()
                ));
            }
            if is_tmpfs {
                planner.undo_is_partial("what is put into a tmpfs is gone with it");
            } else {
                planner.not_covered(
                    "whether there is such a file system on the device, and whether it is sound",
                );
            }
            planner.add(Transition::Mount(Mount {
                place: place.clone(),
                source: source.clone(),
                file_system: args.kind.clone(),
                options: options.clone(),
                data: data.clone(),
                there: true,
                loses: is_tmpfs.then(|| "what is in a tmpfs is gone with it".to_owned()),
            }))?;
        }
        if args.persist {
            // Wrong lines keep a machine from starting.
            planner.risk(Risk::Destructive);
            let book = fstab(planner)?;
            let point = field(
                std::str::from_utf8(place.as_bytes())
                    .map_err(|_| ChangeError::invalid("target", "must be UTF-8, to be saved"))?,
            );
            let size = if data.is_empty() { String::new() } else { format!(",{data}") };
            // As it was asked for: a name by UUID stays right when devices are numbered anew.
            let line =
                format!("{} {point} {} {options},{FSTAB_EXTRA}{size} 0 0", field(&args.source), args.kind);
            planner.change_entry(&book, &point, Some(line.as_bytes()))?;
        } else {
            planner.not_covered("the next start of the machine (persist)");
        }
        Ok(())
    }
}

/// Where the name of a device leads; it is one that holds blocks.
fn device(source: &str) -> Result<Vec<u8>, ChangeError> {
    let failed = |error| ChangeError::io(format!("the device {source}"), error);
    let path = resolve(source.as_bytes()).map_err(failed)?;
    let descriptor = open_without_links(&path, OFlags::PATH).map_err(failed)?;
    let found = rustix::fs::fstat(&descriptor).map_err(failed)?;
    if FileType::from_raw_mode(found.st_mode) != FileType::BlockDevice {
        return Err(ChangeError::invalid("source", format!("{source} is no device with blocks")));
    }
    Ok(path)
}

impl Plan for api::Unmount {
    fn plan(planner: &mut Planner<'_>, args: api::UnmountArgs) -> Result<(), ChangeError> {
        let place = folder(planner, &args.target)?;
        planner.risk(Risk::Destructive);
        planner.summary(format!("Unmounts {}", place.text()));
        let there = mounts()?;
        let at = there.iter().rev().find(|mount| mount.point == place.as_bytes());
        if let Some(at) = at {
            let who = holders(&place)?;
            if !who.is_empty() {
                return Err(ChangeError::refused(format!(
                    "{} is in use by {who}; end that first",
                    place.text()
                )));
            }
            let kind = String::from_utf8_lossy(&at.file_system).into_owned();
            let loses = if kind == "tmpfs" {
                Some("what is in a tmpfs is gone with it".to_owned())
            } else if !KINDS.contains(&kind.as_str()) || at.root != b"/" {
                Some(format!("how this {kind} was mounted is not known exactly"))
            } else {
                None
            };
            planner.add(Transition::Mount(Mount {
                place: place.clone(),
                source: encode(&at.source),
                file_system: kind,
                options: String::from_utf8_lossy(&at.options).into_owned(),
                // The read-only state stands among the options of the mount.
                data: String::from_utf8_lossy(&at.file_system_options)
                    .split(',')
                    .filter(|option| !matches!(*option, "rw" | "ro"))
                    .collect::<Vec<_>>()
                    .join(","),
                there: false,
                loses,
            }))?;
        }
        if args.persist {
            let point = field(&String::from_utf8_lossy(place.as_bytes()));
            planner.change_entry(&fstab(planner)?, &point, None)?;
        } else if at.is_some() {
            planner.not_covered("a line in /etc/fstab or a unit that mounts it again");
        }
        Ok(())
    }
}

/// What may be swapped to: nobody but root may read memory there.
fn swap_place(planner: &mut Planner<'_>, path: &AbsolutePath) -> Result<Place, ChangeError> {
    planner.asked_for(path.as_bytes());
    let leads_to = resolve(path.as_bytes()).map_err(|error| ChangeError::io(path.to_string(), error))?;
    let path =
        AbsolutePath::new(leads_to).map_err(|error| ChangeError::invalid("path", error.to_string()))?;
    let place = Place::of(&path, |_| false)?;
    planner.asked_for(place.as_bytes());
    protect::check_place(planner.machine, planner.viewer, &place)?;
    Ok(place)
}

fn swap_line(planner: &mut Planner<'_>, args: &swap::SwapArgs, there: bool) -> Result<(), ChangeError> {
    if !args.persist {
        planner.not_covered("the next start of the machine (persist)");
        return Ok(());
    }
    planner.risk(Risk::Destructive);
    let source = field(&args.path.to_string());
    let line = format!("{source} none swap sw,{FSTAB_EXTRA} 0 0");
    planner.change_entry(&fstab(planner)?, &format!("swap {source}"), there.then_some(line.as_bytes()))
}

impl Plan for swap::On {
    fn plan(planner: &mut Planner<'_>, args: swap::SwapArgs) -> Result<(), ChangeError> {
        let place = swap_place(planner, &args.path)?;
        planner.risk(Risk::Medium);
        planner.summary(format!("Swaps to {}", place.text()));
        if !swaps()?.iter().any(|one| one.path == place.as_bytes()) {
            check_prepared(&place)?;
            planner.add(Transition::Swap(Swap { place, priority: None, there: true }))?;
        }
        swap_line(planner, &args, true)
    }
}

/// mkswap(8) was there, and others are kept out.
#[expect(clippy::verbose_bit_mask, reason = "these are the permissions of others")]
fn check_prepared(place: &Place) -> Result<(), ChangeError> {
    let failed = |error| ChangeError::io(place.text(), error);
    let descriptor =
        open_without_links(place.as_bytes(), OFlags::RDONLY | OFlags::NONBLOCK).map_err(failed)?;
    let found = rustix::fs::fstat(&descriptor).map_err(failed)?;
    match FileType::from_raw_mode(found.st_mode) {
        FileType::BlockDevice => {}
        FileType::RegularFile if found.st_uid == 0 && found.st_mode & 0o077 == 0 => {}
        FileType::RegularFile => {
            return Err(ChangeError::refused(format!(
                "{} is not root's own (0600): others could read memory in it; file.chmod and file.chown change that",
                place.text()
            )));
        }
        _ => return Err(ChangeError::invalid("path", "must be a device with blocks or a file")),
    }
    // The mark is at the end of the first page.
    let mut mark = [0; 10];
    let page = u64::try_from(rustix::param::page_size()).unwrap_or(4096);
    let length = rustix::io::pread(&descriptor, &mut mark[..], page - 10).map_err(failed)?;
    if length != mark.len() || &mark != b"SWAPSPACE2" {
        return Err(ChangeError::refused(format!("{} was not prepared for swapping (mkswap)", place.text())));
    }
    Ok(())
}

impl Plan for swap::Off {
    fn plan(planner: &mut Planner<'_>, args: swap::SwapArgs) -> Result<(), ChangeError> {
        let place = swap_place(planner, &args.path)?;
        planner.risk(Risk::Medium);
        planner.summary(format!("Swaps to {} no more", place.text()));
        if let Some(one) = swaps()?.into_iter().find(|one| one.path == place.as_bytes()) {
            let available = available_kib();
            if one.used_kib > available / 10 * 9 {
                return Err(ChangeError::refused(format!(
                    "{} KiB are swapped out there, and {available} KiB of memory are free: they do not fit",
                    one.used_kib
                )));
            }
            planner.not_covered(format!("{} KiB are read back into memory, which takes time", one.used_kib));
            // Negative priorities are the kernel's own choice.
            let priority = u16::try_from(one.priority).ok();
            planner.add(Transition::Swap(Swap { place, priority, there: false }))?;
        }
        swap_line(planner, &args, false)
    }
}

fn available_kib() -> u64 {
    procfs::text("/proc/meminfo")
        .and_then(|text| {
            let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
            line.split_whitespace().next()?.parse().ok()
        })
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use agentos_api::change::Undo;
    use serde_json::json;

    use super::*;
    use crate::change::testing::{Bench, in_namespace};

    fn is_mounted(path: &std::path::Path) -> bool {
        mounts().unwrap().iter().any(|mount| mount.point == path.to_str().unwrap().as_bytes())
    }

    #[test]
    fn a_tmpfs_is_mounted_and_taken_back() {
        if !in_namespace("change::mutations::mount::tests::a_tmpfs_is_mounted_and_taken_back", None) {
            return;
        }
        let bench = Bench::new();
        let before = "# mine\nUUID=1 / ext4 defaults 0 1\n";
        bench.write("/etc/fstab", before);
        bench.write("/srv/a b/x", "");
        let target = bench.path("/srv/a b");
        let args = json!({"source": "scratch", "target": target, "type": "tmpfs", "size_bytes": 1_048_576, "no_exec": true, "persist": true});
        let made = bench.change("mount.mount", args.clone());
        assert!(is_mounted(&target));
        let found = mounts()
            .unwrap()
            .into_iter()
            .rev()
            .find(|mount| mount.point == target.to_str().unwrap().as_bytes())
            .unwrap();
        let options = String::from_utf8(found.options).unwrap();
        assert!(options.contains("nosuid,nodev,noexec"), "{options}");
        assert!(String::from_utf8_lossy(&found.file_system_options).contains("size=1024k"));
        let line = bench.read("/etc/fstab").lines().last().unwrap().to_owned();
        assert!(
            line.starts_with("scratch /")
                && line.ends_with("/srv/a\\040b tmpfs nosuid,nodev,noexec,nofail,size=1048576 0 0"),
            "{line}"
        );
        assert!(bench.plan("mount.mount", args).unwrap().script.is_empty());
        assert!(
            bench.plan("mount.mount", json!({"source": "other", "target": target, "type": "tmpfs"})).is_err()
        );
        // In use: the plan says by whom.
        let held = std::fs::File::create(target.join("held")).unwrap();
        let error = bench.plan("mount.unmount", json!({"target": target})).unwrap_err().to_string();
        assert!(error.contains(&std::process::id().to_string()), "{error}");
        drop(held);
        let unmount = bench.plan("mount.unmount", json!({"target": target})).unwrap();
        assert!(matches!(unmount.plan.undo, Undo::Impossible { .. }));
        bench.undo(&made);
        assert!(!is_mounted(&target));
        assert_eq!(bench.read("/etc/fstab"), before);
        bench.cut_and_recover(
            &bench
                .plan(
                    "mount.mount",
                    json!({"source": "s", "target": target, "type": "tmpfs", "persist": true}),
                )
                .unwrap(),
        );
    }

    #[test]
    fn a_device_is_unmounted_and_comes_back_as_it_was() {
        if !in_namespace(
            "change::mutations::mount::tests::a_device_is_unmounted_and_comes_back_as_it_was",
            Some("mkfs.ext4"),
        ) {
            return;
        }
        let bench = Bench::new();
        bench.write("/srv/data/x", "");
        let (image, target) = (bench.path("/image"), bench.path("/srv/data"));
        std::fs::File::create(&image).unwrap().set_len(4 << 20).unwrap();
        assert!(Command::new("mkfs.ext4").arg("-q").arg(&image).status().unwrap().success());
        let output = Command::new("losetup").args(["--find", "--show"]).arg(&image).output().unwrap();
        if !output.status.success() {
            // No loop devices here.
            return;
        }
        let device = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        let made = bench.change(
            "mount.mount",
            json!({"source": device, "target": target, "type": "ext4", "read_only": true}),
        );
        let listed = || {
            let found = mounts()
                .unwrap()
                .into_iter()
                .rev()
                .find(|mount| mount.point == target.to_str().unwrap().as_bytes());
            found.map(|mount| (mount.source, mount.options, mount.file_system_options))
        };
        let before = listed();
        assert!(before.is_some());
        let unmounted = bench.change("mount.unmount", json!({"target": target}));
        assert_eq!((listed(), &unmounted.plan.undo), (None, &Undo::Exact));
        bench.undo(&unmounted);
        assert_eq!(listed(), before);
        bench.undo(&made);
        assert!(Command::new("losetup").args(["--detach", &device]).status().unwrap().success());
    }

    #[test]
    fn the_machines_own_folders_stay() {
        let bench = Bench::new();
        for target in ["/", "/etc", "/usr", "/proc/self", "/run/lock", "/var"] {
            let args = json!({"source": "x", "target": target, "type": "tmpfs"});
            let error = bench.plan_as_operator("mount.mount", args).unwrap_err();
            assert!(
                matches!(error, ChangeError::Refused { .. } | ChangeError::Reading(_)),
                "{target}: {error}"
            );
        }
        for (args, field) in [
            (json!({"source": "x", "target": "/mnt", "type": "proc"}), "type"),
            (json!({"source": "server:/x", "target": "/mnt", "type": "ext4"}), "source"),
            (json!({"source": "x,suid", "target": "/mnt", "type": "tmpfs"}), "source"),
            (json!({"source": "/dev/null", "target": "/mnt", "type": "ext4"}), "source"),
        ] {
            let error = bench.plan("mount.mount", args.clone()).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{field}: ")), "{args}: {error}");
        }
    }

    #[test]
    fn swap_space_comes_and_goes() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let bench = Bench::new();
        bench.write("/etc/fstab", "");
        let path = bench.path("/swapfile");
        std::fs::write(&path, vec![0; 1 << 20]).unwrap();
        let args = json!({"path": path, "persist": true});
        let mode = |mode| {
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        };
        mode(0o644);
        assert!(bench.plan("swap.on", args.clone()).unwrap_err().to_string().contains("0600"));
        mode(0o600);
        assert!(bench.plan("swap.on", args.clone()).unwrap_err().to_string().contains("mkswap"));
        if !Command::new("mkswap").arg(&path).output().is_ok_and(|output| output.status.success()) {
            return;
        }
        let on = bench.plan("swap.on", args.clone()).unwrap();
        // A file system such as tmpfs or an overlay has no swap files.
        let result = on.script.make(&bench.context(), |_| {});
        if let crate::change::Made::TakenBack { error } = &result {
            assert!(error.to_string().contains("Invalid argument"), "{error}");
            assert_eq!(bench.read("/etc/fstab"), "");
            return;
        }
        let is_on = || swaps().unwrap().iter().any(|one| one.path == path.to_str().unwrap().as_bytes());
        assert!(is_on() && bench.read("/etc/fstab").ends_with(" none swap sw,nofail 0 0\n"));
        let off = bench.change("swap.off", args);
        assert!(!is_on() && bench.read("/etc/fstab").is_empty());
        bench.undo(&off);
        assert!(is_on());
        bench.undo(&on);
        assert!(!is_on());
    }
}
