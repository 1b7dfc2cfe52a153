//! Changes of files and folders.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::query::path::AbsolutePath;

/// Most bytes of content in one request, as text or base64.
pub const MAX_CONTENT_BYTES: usize = 700_000;

mutation! {
    /// The whole content of a file.
    Write(WriteArgs) = "file.write", "Makes a file with this content, or replaces the content of one that is there"
}
mutation! {
    /// More at the end of a file.
    Append(AppendArgs) = "file.append", "Adds to the end of a file; makes the file where there is none"
}
mutation! {
    /// A file, a link, or a folder with all that is in it.
    Delete(DeleteArgs) = "file.delete", "Deletes a file, a link or a folder; what was deleted is kept for undo as far as there is room"
}
mutation! {
    /// Another name or place.
    Move(MoveArgs) = "file.move", "Moves or renames a file, a link or a folder; refuses where something has the new name already"
}
mutation! {
    /// A second file with the same content.
    Copy(CopyArgs) = "file.copy", "Copies a regular file with its mode, owner and attributes"
}
mutation! {
    /// Permissions.
    Chmod(ChmodArgs) = "file.chmod", "Sets the permissions of a file or folder"
}
mutation! {
    /// Owner and group.
    Chown(ChownArgs) = "file.chown", "Sets the owner or the group of a file or folder"
}
mutation! {
    /// A folder.
    Mkdir(MkdirArgs) = "file.mkdir", "Makes a folder, on request with the folders above it"
}
mutation! {
    /// A symbolic link.
    Symlink(SymlinkArgs) = "file.symlink", "Makes a symbolic link, or points one that is there elsewhere"
}

/// How content is written in the request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ContentEncoding {
    /// As it is.
    #[default]
    Text,
    /// In base64 (RFC 4648, with padding).
    Base64,
}

/// Arguments of `file.write`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteArgs {
    /// The file: an absolute path. A symbolic link is followed, and the plan says where to.
    pub path: AbsolutePath,
    /// The content, all of it.
    #[schemars(length(max = 700_000))]
    pub content: String,
    /// How the content is written here.
    #[serde(default)]
    pub encoding: ContentEncoding,
    /// The permissions of a new file, in octal: `0644`. A file that is there keeps its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
}

/// Arguments of `file.append`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AppendArgs {
    /// The file: an absolute path.
    pub path: AbsolutePath,
    /// What is added. Where the file does not end with a line break and this is text, one is put in between.
    #[schemars(length(max = 700_000))]
    pub content: String,
    /// How the content is written here.
    #[serde(default)]
    pub encoding: ContentEncoding,
}

/// Arguments of `file.delete`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteArgs {
    /// What is deleted: an absolute path. A symbolic link itself is deleted, not what it points to.
    pub path: AbsolutePath,
    /// A folder is deleted with all that is in it. Without this only an empty one is.
    #[serde(default)]
    pub recursive: bool,
}

/// Arguments of `file.move`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MoveArgs {
    /// What is moved: an absolute path. A symbolic link itself is moved.
    pub path: AbsolutePath,
    /// The new path, on the same file system. Nothing may have it yet.
    pub to: AbsolutePath,
}

/// Arguments of `file.copy`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CopyArgs {
    /// The file that is copied: an absolute path.
    pub path: AbsolutePath,
    /// The path of the copy. A file that has it already is replaced, and kept for undo.
    pub to: AbsolutePath,
}

/// Arguments of `file.chmod`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChmodArgs {
    /// The file or folder: an absolute path.
    pub path: AbsolutePath,
    /// The permissions in octal: `0640`.
    pub mode: String,
}

/// Arguments of `file.chown`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChownArgs {
    /// The file or folder: an absolute path.
    pub path: AbsolutePath,
    /// The new owner: a user's name or number. Left out, it stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The new group: a name or number. Left out, it stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

/// Arguments of `file.mkdir`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MkdirArgs {
    /// The folder: an absolute path.
    pub path: AbsolutePath,
    /// Its permissions in octal; without them `0755`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Also make the folders above it that are missing.
    #[serde(default)]
    pub parents: bool,
}

/// Arguments of `file.symlink`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SymlinkArgs {
    /// The link: an absolute path.
    pub path: AbsolutePath,
    /// Where it points: an absolute path, or one that is relative to the link's folder.
    pub target: String,
}
