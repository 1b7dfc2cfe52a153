//! Changes of groups.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mutation! {
    /// A user in a group.
    AddMember(MemberArgs) = "group.add_member", "Makes a user a member of a group"
}
mutation! {
    /// A new group.
    Create(CreateArgs) = "group.create", "Makes a group without members"
}
mutation! {
    /// A group goes.
    Delete(DeleteArgs) = "group.delete", "Deletes a group that is nobody's main group"
}
mutation! {
    /// A user out of a group.
    RemoveMember(MemberArgs) = "group.remove_member", "Takes a user out of a group"
}

/// Arguments of `group.create`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateArgs {
    /// The name: lower case letters, digits, `_` and `-`, at most 32.
    pub name: String,
    /// The number; without it the next free one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
    /// A group for a service: a number from the system's range.
    #[serde(default)]
    pub system: bool,
}

/// Arguments of `group.delete`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteArgs {
    /// The group.
    pub name: String,
}

/// Arguments of `group.add_member` and `group.remove_member`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MemberArgs {
    /// The group.
    pub group: String,
    /// The user.
    pub user: String,
}
