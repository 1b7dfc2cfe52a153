//! Something gets another path. What it holds is not looked at: it is the same thing before and after.

use agentos_api::change::Effect;
use rustix::fs::{RenameFlags, fsync, renameat_with};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::place::Place;
use super::state::attributes_of;
use crate::change::context::Context;
use crate::change::error::ChangeError;
use crate::change::transition::{Irreversible, Position, Transit};

/// Something gets another path on the same file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rename {
    /// Where it is.
    pub(crate) from: Place,
    /// Where it shall be, and nothing is.
    pub(crate) to: Place,
    /// Which one it is: its inode, and when that was made where the file system says so (statx(2)).
    pub(crate) inode: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) born: Option<(i64, u32)>,
}

impl Rename {
    /// That of what is at `from` now.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn new(from: Place, to: Place) -> Result<Self, ChangeError> {
        let Some((inode, born)) = identity(&from)? else {
            return Err(ChangeError::io(from.text(), Errno::NOENT));
        };
        Ok(Self { from, to, inode, born })
    }

    fn is_at(&self, place: &Place) -> Result<bool, ChangeError> {
        Ok(identity(place)? == Some((self.inode, self.born)))
    }
}

type Identity = (u64, Option<(i64, u32)>);

/// Which thing is there; nothing where none is.
fn identity(place: &Place) -> Result<Option<Identity>, ChangeError> {
    let found = place.open_folder().and_then(|folder| {
        let name = place.name().map_err(|_| Errno::INVAL)?;
        attributes_of(&folder, &name)
    });
    match found {
        Ok(found) => {
            let born = (found.stx_mask & rustix::fs::StatxFlags::BTIME.bits() != 0)
                .then_some((found.stx_btime.tv_sec, found.stx_btime.tv_nsec));
            Ok(Some((found.stx_ino, born)))
        }
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(ChangeError::io(place.text(), error)),
    }
}

impl Transit for Rename {
    fn on(&self) -> String {
        self.from.on()
    }

    fn effect(&self, _: &Context<'_>) -> Effect {
        Effect {
            on: self.on(),
            before: format!("at {}", self.from.text()),
            after: format!("at {}", self.to.text()),
            diff: None,
            diff_omitted: None,
        }
    }

    fn position(&self, _: &Context<'_>) -> Result<Position, ChangeError> {
        let (from, to) = (self.is_at(&self.from)?, self.is_at(&self.to)?);
        Ok(match (from, to) {
            (true, false) if identity(&self.to)?.is_none() => Position::Before,
            (true, false) => {
                Position::Elsewhere(format!("there still, with something else at {}", self.to.text()))
            }
            (false, true) if identity(&self.from)?.is_none() => Position::After,
            (false, true) => Position::Elsewhere("moved, with something else in its old place".to_owned()),
            (true, true) => Position::Elsewhere("at both paths".to_owned()),
            (false, false) => Position::Elsewhere("at neither path".to_owned()),
        })
    }

    fn apply(&self, context: &Context<'_>) -> Result<(), ChangeError> {
        let failed = |error: Errno| ChangeError::failed(self.on(), std::io::Error::from(error));
        let old = self.from.open_folder().map_err(failed)?;
        let new = self.to.open_folder().map_err(failed)?;
        if let Position::Elsewhere(found) = self.position(context)? {
            return Err(ChangeError::Moved {
                what: self.on(),
                planned: format!("at {}", self.from.text()),
                found,
            });
        }
        let (old_name, new_name) = (self.from.name()?, self.to.name()?);
        match renameat_with(&old, &old_name, &new, &new_name, RenameFlags::NOREPLACE) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                return Err(ChangeError::Moved {
                    what: self.to.on(),
                    planned: "absent".to_owned(),
                    found: "there now".to_owned(),
                });
            }
            Err(Errno::XDEV) => {
                return Err(ChangeError::refused(format!(
                    "{} is on another file system; copy and delete instead",
                    self.to.text()
                )));
            }
            Err(error) => return Err(failed(error)),
        }
        if !self.is_at(&self.to)? {
            // Something else was put there between the look and the move: it goes back.
            renameat_with(&new, &new_name, &old, &old_name, RenameFlags::NOREPLACE).map_err(failed)?;
            return Err(ChangeError::Moved {
                what: self.on(),
                planned: format!("at {}", self.from.text()),
                found: "something else".to_owned(),
            });
        }
        fsync(&new).and_then(|()| fsync(&old)).map_err(failed)
    }

    fn reversed(&self) -> Result<Self, Irreversible> {
        Ok(Self { from: self.to.clone(), to: self.from.clone(), inode: self.inode, born: self.born })
    }

    fn paths(&self) -> Vec<Vec<u8>> {
        vec![self.from.as_bytes().to_vec(), self.to.as_bytes().to_vec()]
    }
}
