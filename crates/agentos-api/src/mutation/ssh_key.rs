//! Changes of the keys by which users log in over ssh.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mutation! {
    /// A key that may log in.
    Add(AddArgs) = "ssh_key.add", "Lets a public key log in as a user over ssh (authorized_keys)"
}
mutation! {
    /// A key that may not log in any more.
    Remove(RemoveArgs) = "ssh_key.remove", "Takes a public key out of a user's authorized_keys"
}

/// Arguments of `ssh_key.add`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddArgs {
    /// The user.
    pub user: String,
    /// The line: options, where there are some, the type, the key in base64, a comment. As in `id_ed25519.pub`.
    #[schemars(length(max = 16384))]
    pub key: String,
}

/// Arguments of `ssh_key.remove`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveArgs {
    /// The user.
    pub user: String,
    /// The key: its line, its base64 part, or its fingerprint as `SHA256:…`.
    #[schemars(length(max = 16384))]
    pub key: String,
}
