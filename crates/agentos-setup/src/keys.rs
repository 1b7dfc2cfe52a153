//! The file with the model's key, `/etc/agentos/model.env`: lines of `NAME=key` as systemd's `EnvironmentFile=` reads
//! them. Only root reads it; a key is never an argument of a program, where everybody could.

use std::path::Path;

use crate::config::ModelWish;
use crate::error::SetupError;
use crate::folder::{Folder, Owner};
use crate::model::{KEYS, variable_of};

/// The file's name.
pub const NAME: &str = "model.env";

/// Longest key that is taken.
const LONGEST: usize = 4096;

/// A model's key and the variable it belongs in.
pub struct Key {
    variable: &'static str,
    value: String,
}

impl Key {
    /// The key in `text`: `NAME=key`, or the key alone where its variable can be known.
    ///
    /// # Errors
    /// When there is no key in it, or it is not known whose it is. No message repeats it.
    pub fn parse(text: &str, wish: &ModelWish) -> Result<Self, SetupError> {
        let line = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
        let Some(line) = line else { return Err(refuse("there is no key in it")) };
        let named = KEYS.into_iter().find_map(|variable| {
            Some((variable, line.strip_prefix(variable)?.trim_start().strip_prefix('=')?.trim()))
        });
        match named {
            Some((variable, value)) => Self::new(variable, value),
            None => match variable_of(line, wish) {
                Some(variable) => Self::new(variable, line),
                None => Err(refuse("it is not known whose key it is; write it as NAME=KEY")),
            },
        }
    }

    /// The key that the variable `name` holds.
    ///
    /// # Errors
    /// When it is not a variable for a key, or holds none.
    pub fn of_variable(name: &str, value: Option<&str>) -> Result<Self, SetupError> {
        let Some(variable) = KEYS.into_iter().find(|known| *known == name) else {
            return Err(refuse("the variable's name says nothing"));
        };
        Self::new(variable, value.ok_or_else(|| refuse("the variable is not set"))?)
    }

    fn new(variable: &'static str, value: &str) -> Result<Self, SetupError> {
        let value = value.trim_matches(['"', '\'']);
        // What has no meaning to systemd's parser, so that what is written is what is read.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=:@".contains(&byte);
        if value.is_empty() || value.len() > LONGEST || !value.bytes().all(plain) {
            return Err(refuse("what is there does not look like a key"));
        }
        Ok(Self { variable, value: value.to_owned() })
    }

    /// Its variable.
    pub fn variable(&self) -> &'static str {
        self.variable
    }

    /// Makes it the one key of the file in `folder`, which is made if it is not there. Other lines stay.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn write(&self, folder: &Path) -> Result<bool, SetupError> {
        let folder = Folder::make(folder)?;
        let present = folder.read(NAME)?.unwrap_or_default();
        let present = String::from_utf8_lossy(&present);
        let mut text = String::new();
        let others = present.lines().filter(|line| !KEYS.iter().any(|name| value(line, name).is_some()));
        for line in others.chain([format!("{}={}", self.variable, self.value).as_str()]) {
            text.push_str(line);
            text.push('\n');
        }
        folder.write(NAME, text.as_bytes(), Owner::caller(), 0o600)
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Key({})", self.variable)
    }
}

/// The variables that the file in `folder` holds a key for.
///
/// # Errors
/// When it is there and cannot be read.
pub fn present(folder: &Path) -> Result<Vec<&'static str>, SetupError> {
    let text = content(folder)?;
    let text = String::from_utf8_lossy(&text);
    Ok(KEYS
        .into_iter()
        .filter(|variable| {
            text.lines().any(|line| value(line, variable).is_some_and(|value| !value.is_empty()))
        })
        .collect())
}

/// The file, or nothing.
pub(crate) fn content(folder: &Path) -> Result<Vec<u8>, SetupError> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    Ok(Folder::open(folder)?.read(NAME)?.unwrap_or_default())
}

fn value<'a>(line: &'a str, variable: &str) -> Option<&'a str> {
    let value = line.trim().strip_prefix(variable)?.trim_start().strip_prefix('=')?;
    Some(value.trim().trim_matches(['"', '\'']))
}

fn refuse(message: &str) -> SetupError {
    SetupError::Refused {
        message: format!("the model's key: {message}"),
        hint: format!("the variables are {}", KEYS.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_key_is_roots_alone_and_other_lines_stay() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("agentos");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join(NAME), "# proxy\nHTTPS_PROXY=http://p:1\nOPENAI_API_KEY=old\n").unwrap();
        let key = Key::parse("# mine\nANTHROPIC_API_KEY = \"sk-ant-1\"\n", &ModelWish::default()).unwrap();
        assert!(key.write(&folder).unwrap());
        assert!(!key.write(&folder).unwrap());
        let text = fs::read_to_string(folder.join(NAME)).unwrap();
        assert_eq!(text, "# proxy\nHTTPS_PROXY=http://p:1\nANTHROPIC_API_KEY=sk-ant-1\n");
        assert_eq!(fs::metadata(folder.join(NAME)).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(present(&folder).unwrap(), ["ANTHROPIC_API_KEY"]);
    }

    #[test]
    fn what_is_no_key_is_refused_and_not_repeated() {
        let wish = ModelWish::default();
        for text in
            ["", "# only\n", "secret with blanks", "OPENAI_API_KEY=", "OPENAI_API_KEY=sk-$secret", "secret"]
        {
            let error = Key::parse(text, &wish).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{text}: {error}");
        }
        assert!(Key::of_variable("PATH", Some("secret")).is_err());
        assert!(Key::of_variable("OPENAI_API_KEY", None).is_err());
        assert!(!format!("{:?}", Key::parse("sk-secret", &wish).unwrap()).contains("secret"));
    }

    #[test]
    fn a_bare_key_is_recognized() {
        let key = Key::parse("sk-ant-abc\n", &ModelWish::default()).unwrap();
        assert_eq!((key.variable, key.value.as_str()), ("ANTHROPIC_API_KEY", "sk-ant-abc"));
    }
}
