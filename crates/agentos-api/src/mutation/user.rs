//! Changes of user accounts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::query::path::AbsolutePath;

mutation! {
    /// A new account.
    Create(CreateArgs) = "user.create", "Makes a user account: locked, without a password; on request with a home folder"
}
mutation! {
    /// An account goes.
    Delete(DeleteArgs) = "user.delete", "Deletes a user account with its group memberships; its home folder stays unless asked for"
}
mutation! {
    /// What is known of an account.
    Modify(ModifyArgs) = "user.modify", "Changes a user's comment, shell or home, locks or unlocks the password, lets the account expire"
}

/// Arguments of `user.create`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateArgs {
    /// The name: lower case letters, digits, `_` and `-`, at most 32.
    pub name: String,
    /// Who it is, in words (the GECOS field).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// The home folder; without it `/home/NAME`, for a system account `/nonexistent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<AbsolutePath>,
    /// Also make the home folder, with what is in `/etc/skel`.
    #[serde(default)]
    pub create_home: bool,
    /// The login shell; without it `/bin/bash` where that is there, for a system account `/usr/sbin/nologin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shell: Option<AbsolutePath>,
    /// The number; without it the next free one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// The main group, which is there; without it a group of the user's own is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Further groups, which are there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub groups: Vec<String>,
    /// An account for a service: a number from the system's range, no login shell.
    #[serde(default)]
    pub system: bool,
}

/// Arguments of `user.delete`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteArgs {
    /// The user.
    pub name: String,
    /// Also delete the home folder with all that is in it. It is kept for undo as far as there is room.
    #[serde(default)]
    pub delete_home: bool,
}

/// Arguments of `user.modify`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModifyArgs {
    /// The user.
    pub name: String,
    /// Who it is, in words (the GECOS field).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// The home folder. The folder itself is not moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<AbsolutePath>,
    /// The login shell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shell: Option<AbsolutePath>,
    /// Lock the password (`true`), or unlock the one that was locked (`false`). Keys for ssh go on working.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked: Option<bool>,
    /// The day from which on the account cannot be used, as `2031-12-31`; `never` takes it away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
}
