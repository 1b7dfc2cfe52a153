//! `gateway.toml`: what the administrator says about the gateway. Every key is optional, an unknown one is an error, and
//! an error names its line.

use std::fs;
use std::path::Path;

use serde::Deserialize;

use crate::error::SetupError;
use crate::registry::Registry;

/// The whole file. `packaging/etc/gateway.toml` documents each key with its default.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The gateway's port on 127.0.0.1.
    pub port: u16,
    /// The package registry; left out: the one that the package was built with.
    pub registry: Option<String>,
    /// The model.
    pub model: ModelWish,
}

/// Which model is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelWish {
    /// Whose.
    pub provider: Provider,
    /// Its name there; left out: one that is known to be good.
    pub name: Option<String>,
    /// The base address of an OpenAI-compatible server, up to and with `/v1`.
    pub url: Option<String>,
}

/// Whose model it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// The one at `url` if there is one, else the first that there is a key for, else the scripted one.
    #[default]
    Auto,
    /// Anthropic.
    Anthropic,
    /// `OpenAI`.
    OpenAi,
    /// `OpenRouter`.
    OpenRouter,
    /// The server at `url`.
    Own,
    /// The scripted model, which thinks nothing.
    Scripted,
}

/// The scripted model's port, which the gateway cannot have.
pub const SCRIPTED_PORT: u16 = 18790;

impl Default for Config {
    fn default() -> Self {
        Self { port: 18789, registry: None, model: ModelWish::default() }
    }
}

impl Config {
    /// Reads `path`; all keys have their defaults if it is not there.
    ///
    /// # Errors
    /// When it cannot be read, does not parse, or says what cannot be.
    pub fn load(path: &Path) -> Result<Self, SetupError> {
        match fs::read_to_string(path) {
            Ok(text) => {
                Self::parse(&text).map_err(|message| SetupError::File { path: path.to_owned(), message })
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(SetupError::io("read", path)(error)),
        }
    }

    /// Reads `text`.
    ///
    /// # Errors
    /// With the line, or the key and what it must be.
    pub fn parse(text: &str) -> Result<Self, String> {
        // toml's own message names the line, the column and the key.
        let config: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        if config.port < 1024 || config.port == SCRIPTED_PORT {
            return Err(format!(
                "port must be from 1024 to 65535, and not {SCRIPTED_PORT}, the scripted model's"
            ));
        }
        config.registry()?;
        config.model.check()?;
        Ok(config)
    }

    /// The registry that it names.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn registry(&self) -> Result<Option<Registry>, String> {
        let parsed = self.registry.as_deref().map(Registry::parse).transpose();
        parsed.map_err(|error| format!("registry: {error}"))
    }
}

impl ModelWish {
    fn check(&self) -> Result<(), String> {
        // OpenClaw replaces `${NAME}` in its configuration by variables, keys among them.
        let plain = |text: &str| {
            !text.is_empty()
                && text.bytes().all(|byte| byte.is_ascii_graphic())
                && !text.contains(['"', '\\', '$', '{', '}'])
        };
        if self.name.as_deref().is_some_and(|name| !plain(name)) {
            return Err("model.name must be a name without blanks".to_owned());
        }
        match (&self.url, self.provider) {
            (Some(url), Provider::Auto | Provider::Own) => {
                if !plain(url) || !(url.starts_with("http://") || url.starts_with("https://")) {
                    return Err("model.url must begin with http:// or https://".to_owned());
                }
                match self.name {
                    Some(_) => Ok(()),
                    None => Err("model.name must be set where model.url is".to_owned()),
                }
            }
            (Some(_), _) => Err("model.url is for the providers \"own\" and \"auto\"".to_owned()),
            (None, Provider::Own) => Err("model.url must be set for the provider \"own\"".to_owned()),
            (None, _) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_packaged_file_documents_each_default() {
        let text = include_str!("../../../packaging/etc/gateway.toml");
        // Keys that have no fixed default stand commented out in it; all others must say what the code says.
        assert_eq!(Config::parse(text).unwrap(), Config::default());
        let shown: Vec<&str> = text
            .lines()
            .map(|line| line.strip_prefix("# ").filter(|line| line.contains(" = ")).unwrap_or(line))
            .collect();
        let all = Config::parse(&shown.join("\n")).unwrap();
        assert!(all.registry.is_some() && all.model.name.is_some() && all.model.url.is_some());
    }

    #[test]
    fn an_unknown_key_is_refused_and_its_line_is_named() {
        let error = Config::parse("port = 18789\nprot = 1\n").unwrap_err();
        assert!(error.contains("line 2") && error.contains("prot"), "{error}");
        let error = Config::parse("[model]\nprovider = \"nobody\"\n").unwrap_err();
        assert!(error.contains("line 2") && error.contains("anthropic"), "{error}");
        assert!(Config::parse("[model]\nkey = \"secret\"\n").is_err());
    }

    #[test]
    fn values_that_cannot_work_are_refused() {
        for (text, named) in [
            ("port = 80", "port"),
            ("port = 18790", "scripted"),
            ("port = 70000", "port"),
            ("registry = \"registry.example\"", "registry"),
            ("[model]\nprovider = \"own\"", "model.url"),
            ("[model]\nurl = \"http://127.0.0.1:1/v1\"", "model.name"),
            ("[model]\nurl = \"file:///x\"\nname = \"m\"", "http://"),
            ("[model]\nprovider = \"openai\"\nurl = \"http://x/v1\"\nname = \"m\"", "own"),
            ("[model]\nname = \"${ANTHROPIC_API_KEY}\"", "model.name"),
        ] {
            let error = Config::parse(text).unwrap_err();
            assert!(error.contains(named), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in "\\PC{0,200}") {
            let _ = Config::parse(&text);
        }

        #[test]
        fn any_value_is_parsed_or_refused(key in "(port|registry|model|model\\.(name|url|provider))", value in "(\"[ -~]{0,30}\"|-?[0-9]{1,20}|true|\\[\\])") {
            if let Ok(config) = Config::parse(&format!("{key} = {value}")) {
                prop_assert!(config.port >= 1024 && config.registry().is_ok());
            }
        }
    }
}
