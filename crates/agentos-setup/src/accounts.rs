//! The users and groups that files are given to. The package makes them; a set-up only looks them up.

use std::fs;
use std::path::Path;

use nix::unistd::{Group, User};

use crate::error::SetupError;
use crate::folder::Owner;
use crate::layout::Layout;

/// The gateway's user.
const GATEWAY: &str = "openclaw";

/// The group of those who operate the machine.
const OPERATORS: &str = "agentos-operators";

/// Who is who.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accounts {
    /// Whom the gateway runs as.
    pub gateway: Owner,
    /// The group that may talk with the agent and approve.
    pub operators: u32,
}

impl Accounts {
    /// Looks them up: on this system, or in the files of another root.
    ///
    /// # Errors
    /// When one is missing: the message says how it is made.
    pub fn find(layout: &Layout) -> Result<Self, SetupError> {
        let (gateway, operators) = if layout.is_this_system() {
            let user = User::from_name(GATEWAY).map_err(|error| unanswered(GATEWAY, error))?;
            let group = Group::from_name(OPERATORS).map_err(|error| unanswered(OPERATORS, error))?;
            (
                user.map(|user| Owner { uid: user.uid.as_raw(), gid: user.gid.as_raw() }),
                group.map(|group| group.gid.as_raw()),
            )
        } else {
            let user = numbers(&layout.etc("passwd"), GATEWAY)?;
            let group = numbers(&layout.etc("group"), OPERATORS)?;
            (user.and_then(|(uid, gid)| Some(Owner { uid, gid: gid? })), group.map(|(gid, _)| gid))
        };
        let gateway = gateway.ok_or_else(|| missing("user", GATEWAY))?;
        let operators = operators.ok_or_else(|| missing("group", OPERATORS))?;
        if gateway.uid == 0 && rustix::process::geteuid().is_root() {
            return Err(SetupError::Refused {
                message: format!("the user {GATEWAY} is root; the gateway must not be"),
                hint: "give it a number of its own".to_owned(),
            });
        }
        Ok(Self { gateway, operators })
    }
}

fn unanswered(name: &str, error: nix::errno::Errno) -> SetupError {
    SetupError::io("look up", Path::new(name))(error.into())
}

fn missing(what: &str, name: &str) -> SetupError {
    SetupError::Refused {
        message: format!("there is no {what} {name}"),
        hint: "install the package agentos, which makes it, or run: systemd-sysusers agentos.conf".to_owned(),
    }
}

/// The third and the fourth field of `name` in a file like passwd(5) or group(5).
fn numbers(file: &Path, name: &str) -> Result<Option<(u32, Option<u32>)>, SetupError> {
    let text = fs::read_to_string(file).map_err(SetupError::io("read", file))?;
    Ok(text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then_some(())?;
        let first = fields.nth(1)?.parse().ok()?;
        Some((first, fields.next().and_then(|field| field.parse().ok())))
    }))
}
