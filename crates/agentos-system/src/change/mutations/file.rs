//! `file.*`: planning changes of files and folders.

mod content;
mod like;
pub(super) mod risk;
pub(super) mod tree;

pub(in crate::change) use like::like;

use agentos_api::change::Risk;
use agentos_api::mutation::file as api;
use agentos_api::query::path::{AbsolutePath, encode};
use rustix::fs::OFlags;

use crate::change::error::ChangeError;
use crate::change::file::{Attributes, FileState, FileTransition, Place, Rename};
use crate::change::planner::Planner;
use crate::change::protect;
use crate::change::transition::Transition;
use crate::change::{Plan, file};

/// Longest target of a symbolic link, in bytes (`PATH_MAX` less its NUL).
const LONGEST_TARGET: usize = 4095;

/// The place of `path` itself, which may be changed by whoever asks. A link at its end is not followed.
pub(super) fn place(planner: &mut Planner<'_>, path: &AbsolutePath) -> Result<Place, ChangeError> {
    planner.asked_for(path.as_bytes());
    let place = Place::of(path, |folder| planner.files.is_folder(folder))?;
    protect::check_place(planner.machine, planner.viewer, &place)?;
    place.refuse_kernels_own()?;
    Ok(place)
}

/// The place that `path` leads to, with a link at its end followed, and what will be there.
fn followed(planner: &mut Planner<'_>, path: &AbsolutePath) -> Result<(Place, FileState), ChangeError> {
    let first = place(planner, path)?;
    let state = planner.state(&first)?;
    let FileState::Link { target, .. } = &state else { return Ok((first, state)) };
    if planner.files.knows(&first) {
        return Err(ChangeError::refused(format!(
            "{path} is a symbolic link that an earlier step makes; name {target} itself"
        )));
    }
    let leads_to = file::resolve(path.as_bytes()).map_err(|_| {
        ChangeError::refused(format!(
            "{path} is a symbolic link to {target}, which is not there; name that itself"
        ))
    })?;
    let text = encode(&leads_to);
    let leads_to =
        AbsolutePath::new(leads_to).map_err(|error| ChangeError::invalid("path", error.to_string()))?;
    planner.not_covered(format!("{path} is a symbolic link: what is changed is {text}"));
    let place = place(planner, &leads_to)?;
    let state = planner.state(&place)?;
    Ok((place, state))
}

impl Planner<'_> {
    /// What will be at `place` after what is planned so far.
    pub(in crate::change::mutations) fn state(&mut self, place: &Place) -> Result<FileState, ChangeError> {
        self.files.state(place, &mut self.batch)
    }

    /// What something new at `place` has beside its content.
    fn new_attributes(
        &mut self,
        place: &Place,
        mode: u32,
        is_folder: bool,
    ) -> Result<Attributes, ChangeError> {
        let Some(folder) = place.parent() else { return Ok(Attributes::new(mode)) };
        Ok(match self.state(&folder)?.attributes() {
            Some(attributes) => Attributes::inherited(attributes, mode, is_folder),
            None => Attributes::new(mode),
        })
    }

    /// Adds the change of a path. Nothing is added where it is so already.
    pub(in crate::change::mutations) fn change(
        &mut self,
        place: Place,
        from: FileState,
        to: FileState,
    ) -> Result<(), ChangeError> {
        let other_names = if matches!(from, FileState::File { .. }) { other_names(&place) } else { 0 };
        self.change_with(place, from, to, other_names)
    }

    /// The same, with how many other names a file keeps that will not be joined again.
    pub(super) fn change_with(
        &mut self,
        place: Place,
        from: FileState,
        to: FileState,
        other_names: u32,
    ) -> Result<(), ChangeError> {
        if from == to {
            return Ok(());
        }
        self.risk(risk::of(&place, &from).max(risk::of(&place, &to)));
        self.add(Transition::File(FileTransition { place, from, to, other_names }))
    }
}

/// How many other names a file has.
fn other_names(place: &Place) -> u32 {
    let links = file::open_without_links(place.as_bytes(), OFlags::PATH)
        .and_then(|descriptor| rustix::fs::fstat(&descriptor))
        .map_or(1, |found| found.st_nlink);
    u32::try_from(links.saturating_sub(1)).unwrap_or(u32::MAX)
}

/// A mode in octal, as chmod(1) takes it.
fn mode(text: &str) -> Result<u32, ChangeError> {
    let invalid = || ChangeError::invalid("mode", "must be three or four octal digits, such as 0644");
    if !(3..=4).contains(&text.len()) || !text.bytes().all(|byte| matches!(byte, b'0'..=b'7')) {
        return Err(invalid());
    }
    u32::from_str_radix(text, 8).map_err(|_| invalid())
}

impl Plan for api::Mkdir {
    fn check(args: &api::MkdirArgs) -> Result<(), ChangeError> {
        args.mode.as_deref().map_or(Ok(0o755), mode).map(|_| ())
    }

    fn plan(planner: &mut Planner<'_>, args: api::MkdirArgs) -> Result<(), ChangeError> {
        let mode = args.mode.as_deref().map_or(Ok(0o755), mode)?;
        let mut missing = Vec::new();
        if args.parents {
            // From the first that is missing downwards.
            let mut above = parent(&args.path);
            while let Some(path) = above {
                if file::resolve(path.as_bytes()).is_ok() || planner.files.is_folder(path.as_bytes()) {
                    break;
                }
                above = parent(&path);
                missing.push(path);
            }
        }
        for folder in missing.iter().rev() {
            let place = place(planner, folder)?;
            let new = FileState::Folder { attributes: planner.new_attributes(&place, 0o755, true)? };
            planner.change(place, FileState::Absent, new)?;
        }
        let place = place(planner, &args.path)?;
        match planner.state(&place)? {
            FileState::Absent => {
                let new = FileState::Folder { attributes: planner.new_attributes(&place, mode, true)? };
                planner.summary(format!("Makes the folder {}", place.text()));
                planner.change(place, FileState::Absent, new)
            }
            FileState::Folder { .. } => {
                planner.summary(format!("Makes the folder {}", place.text()));
                Ok(())
            }
            other => Err(ChangeError::refused(format!(
                "{} is there and is no folder: {}",
                place.text(),
                other.text(&planner.machine.accounts)
            ))),
        }
    }
}

fn parent(path: &AbsolutePath) -> Option<AbsolutePath> {
    let bytes = path.as_bytes();
    let trimmed = bytes.iter().rposition(|&byte| byte != b'/').map_or(&bytes[..0], |last| &bytes[..=last]);
    let at = trimmed.iter().rposition(|&byte| byte == b'/')?;
    if at == 0 { None } else { AbsolutePath::new(&trimmed[..at]).ok() }
}

impl Plan for api::Symlink {
    fn check(args: &api::SymlinkArgs) -> Result<(), ChangeError> {
        let target = args.target.as_bytes();
        if target.is_empty() || target.len() > LONGEST_TARGET || target.contains(&0) {
            return Err(ChangeError::invalid(
                "target",
                format!("must be a path of 1 to {LONGEST_TARGET} bytes without a NUL character"),
            ));
        }
        Ok(())
    }

    fn plan(planner: &mut Planner<'_>, args: api::SymlinkArgs) -> Result<(), ChangeError> {
        let place = place(planner, &args.path)?;
        let from = planner.state(&place)?;
        let (uid, gid) = match &from {
            FileState::Absent => (0, 0),
            FileState::Link { uid, gid, .. } => (*uid, *gid),
            other => {
                return Err(ChangeError::refused(format!(
                    "{} is there and is no symbolic link: {}; delete or move it first",
                    place.text(),
                    other.text(&planner.machine.accounts)
                )));
            }
        };
        planner.summary(format!("Points {} at {}", place.text(), args.target));
        planner.change(place, from, FileState::Link { target: args.target, uid, gid })
    }
}

impl Plan for api::Move {
    fn plan(planner: &mut Planner<'_>, args: api::MoveArgs) -> Result<(), ChangeError> {
        let from = place(planner, &args.path)?;
        let to = place(planner, &args.to).map_err(|error| in_field(error, "to"))?;
        if from == to {
            planner.summary(format!("Moves {}", from.text()));
            return Ok(());
        }
        if to.as_bytes().strip_prefix(from.as_bytes()).is_some_and(|rest| rest.first() == Some(&b'/')) {
            return Err(ChangeError::invalid("to", "is below what is moved"));
        }
        if planner.files.knows(&from) {
            return Err(ChangeError::refused(format!(
                "an earlier step of this change makes or changes {}; make moving it a change of its own",
                from.text()
            )));
        }
        if planner.state(&from)? == FileState::Absent {
            return Err(ChangeError::io(from.text(), rustix::io::Errno::NOENT));
        }
        let there = planner.state(&to)?;
        if there != FileState::Absent {
            return Err(ChangeError::refused(format!(
                "{} is there already: {}; delete or move it first",
                to.text(),
                there.text(&planner.machine.accounts)
            )));
        }
        planner.risk(risk::at(&from).max(risk::at(&to)));
        planner.summary(format!("Moves {} to {}", from.text(), to.text()));
        planner.not_covered(
            "programs that have the old path in their configuration, or hold it open".to_owned(),
        );
        let rename = Rename::new(from, to)?;
        planner.add(Transition::Rename(rename))
    }
}

fn in_field(error: ChangeError, field: &str) -> ChangeError {
    match error {
        ChangeError::Reading(crate::QueryError::InvalidArgument { reason, .. }) => {
            ChangeError::invalid(field, reason)
        }
        other => other,
    }
}

impl Plan for api::Chmod {
    fn check(args: &api::ChmodArgs) -> Result<(), ChangeError> {
        mode(&args.mode).map(|_| ())
    }

    fn plan(planner: &mut Planner<'_>, args: api::ChmodArgs) -> Result<(), ChangeError> {
        let mode = mode(&args.mode)?;
        let (place, from) = followed(planner, &args.path)?;
        let to = with_attributes(&place, &from, |attributes| attributes.set_mode(mode))?;
        planner.summary(format!("Sets the permissions of {} to {mode:04o}", place.text()));
        planner.change(place, from, to)
    }
}

impl Plan for api::Chown {
    fn check(args: &api::ChownArgs) -> Result<(), ChangeError> {
        if args.owner.is_none() && args.group.is_none() {
            return Err(ChangeError::invalid("owner", "owner or group must be given"));
        }
        Ok(())
    }

    fn plan(planner: &mut Planner<'_>, args: api::ChownArgs) -> Result<(), ChangeError> {
        let accounts = &planner.machine.accounts;
        let number = |field: &str, name: &str, names: &std::collections::HashMap<u32, String>| {
            let named = names.iter().find_map(|(number, known)| (known == name).then_some(*number));
            named
                .or_else(|| name.parse().ok().filter(|number| *number != u32::MAX))
                .ok_or_else(|| ChangeError::invalid(field, format!("there is no {field} {name:?} here")))
        };
        let uid = args.owner.as_deref().map(|name| number("owner", name, &accounts.users())).transpose()?;
        let gid = args.group.as_deref().map(|name| number("group", name, &accounts.groups())).transpose()?;
        let (place, from) = followed(planner, &args.path)?;
        let to = with_attributes(&place, &from, |attributes| {
            attributes.uid = uid.unwrap_or(attributes.uid);
            attributes.gid = gid.unwrap_or(attributes.gid);
        })?;
        planner.risk(Risk::Medium);
        planner.summary(format!("Gives {} to {}", place.text(), to.text(&planner.machine.accounts)));
        planner.change(place, from, to)
    }
}

fn with_attributes(
    place: &Place,
    from: &FileState,
    change: impl FnOnce(&mut Attributes),
) -> Result<FileState, ChangeError> {
    let mut to = from.clone();
    match to.attributes_mut() {
        Some(attributes) if !matches!(from, FileState::Pipe { .. }) => {
            change(attributes);
            Ok(to)
        }
        _ if *from == FileState::Absent => Err(ChangeError::io(place.text(), rustix::io::Errno::NOENT)),
        _ => Err(ChangeError::refused(format!("{} is neither a file nor a folder", place.text()))),
    }
}
