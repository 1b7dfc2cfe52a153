//! The gateway's configuration on an installed system: what set-up writes, and whether it is as it should be.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::accounts::Accounts;
use crate::config::{Config, SCRIPTED_PORT};
use crate::digest;
use crate::error::SetupError;
use crate::folder::{Folder, Owner};
use crate::gateway::{Gateway, TOKEN, variables};
use crate::keys;
use crate::layout::Layout;
use crate::model::Model;
use crate::workspace::{self, Texts};

/// The file that is there when the scripted model is the model: the unit that runs it looks for it.
pub const SCRIPTED: &str = "scripted";

/// The file that says with what the gateway was last started.
const APPLIED: &str = "applied";

/// What the gateway is to be on this system.
#[derive(Debug)]
pub struct System<'a> {
    layout: &'a Layout,
    accounts: Accounts,
    config: &'a Config,
    model: Model,
    texts: Texts,
}

/// One file of the gateway's folder.
struct Entry {
    name: &'static str,
    content: Vec<u8>,
    owner: Owner,
    mode: u32,
}

impl<'a> System<'a> {
    /// Finds out what it is to be.
    ///
    /// # Errors
    /// When an account is missing or the file of keys cannot be read.
    pub fn plan(layout: &'a Layout, config: &'a Config) -> Result<Self, SetupError> {
        let accounts = Accounts::find(layout)?;
        let keys = keys::present(&layout.keys())?;
        let model = Model::choose(&config.model, |name| keys.contains(&name))
            .unwrap_or_else(|| Model::scripted(SocketAddr::from((Ipv4Addr::LOCALHOST, SCRIPTED_PORT))));
        let texts = Texts { templates: layout.templates(), skills: layout.skills() };
        Ok(Self { layout, accounts, config, model, texts })
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Writes what is not as it should be. Answers whether anything was not.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self) -> Result<bool, SetupError> {
        let own = Folder::make(&self.layout.state_parent())?.make_folder(
            "openclaw",
            self.accounts.gateway,
            0o700,
        )?;
        for name in ["home", "state"] {
            own.make_folder(name, self.accounts.gateway, 0o700)?;
        }
        let mut changed = workspace::fill(&own, &self.texts, Some(self.accounts.gateway))?;
        let folder = Folder::make(&self.layout.gateway())?;
        let token = match Self::token(&folder)? {
            Some(token) => token,
            None => new_token()?,
        };
        for entry in self.entries(&token)? {
            changed |= folder.write(entry.name, &entry.content, entry.owner, entry.mode)?;
        }
        if !self.model.scripted {
            changed |= folder.remove(SCRIPTED)?;
        }
        Ok(changed)
    }

    /// The first file of the gateway's folder that is not as it should be.
    ///
    /// # Errors
    /// When a template cannot be read.
    pub fn wrong(&self) -> Result<Option<PathBuf>, SetupError> {
        let path = self.layout.gateway();
        if !path.is_dir() {
            return Ok(Some(path));
        }
        let folder = Folder::open(&path)?;
        let Some(token) = Self::token(&folder)? else { return Ok(Some(path.join("environment"))) };
        for entry in self.entries(&token)? {
            if !folder.is(entry.name, &entry.content, entry.owner, entry.mode) {
                return Ok(Some(path.join(entry.name)));
            }
        }
        Ok((!self.model.scripted && folder.holds(SCRIPTED)).then(|| path.join(SCRIPTED)))
    }

    fn entries(&self, token: &str) -> Result<Vec<Entry>, SetupError> {
        let root = Owner::caller();
        let state = self.layout.state();
        let configuration = self.layout.gateway().join("openclaw.json");
        let gateway = Gateway {
            port: self.config.port,
            model: &self.model,
            workspace: &state.join(workspace::NAME),
            plugin: &self.layout.plugin(),
            agent_socket: &self.layout.agent_socket(),
            log: &state.join("state/logs/openclaw.log"),
            heartbeat: &self.texts.heartbeat()?,
        };
        let operator = json!({ "url": format!("http://127.0.0.1:{}", self.config.port), "token": token });
        let mut entries = vec![
            Entry {
                name: "openclaw.json",
                content: lines(&gateway.configuration()),
                owner: Owner { gid: self.accounts.gateway.gid, ..root },
                mode: 0o640,
            },
            Entry {
                name: "environment",
                content: environment(token, &configuration, &state)?,
                owner: root,
                mode: 0o600,
            },
            Entry {
                name: "operator.json",
                content: lines(&operator),
                owner: Owner { gid: self.accounts.operators, ..root },
                mode: 0o640,
            },
        ];
        if self.model.scripted {
            let content = format!("The scripted model is the model, on 127.0.0.1:{SCRIPTED_PORT}.\n");
            entries.push(Entry { name: SCRIPTED, content: content.into_bytes(), owner: root, mode: 0o644 });
        }
        Ok(entries)
    }

    /// The token that is kept in the folder.
    fn token(folder: &Folder) -> Result<Option<String>, SetupError> {
        let text = folder.read("environment")?.unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let token = text.lines().find_map(|line| line.strip_prefix(TOKEN)?.strip_prefix('='));
        let whole = |token: &&str| token.len() == 64 && token.bytes().all(|byte| byte.is_ascii_hexdigit());
        Ok(token.filter(whole).map(str::to_owned))
    }

    /// A digest of all that a gateway reads when it starts: another one means that it has to be started anew.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn fingerprint(&self, runtime: &str) -> Result<String, SetupError> {
        let folder = Folder::open(&self.layout.gateway())?;
        let mut parts: Vec<Vec<u8>> = vec![runtime.as_bytes().to_vec(), keys::content(&self.layout.keys())?];
        for name in ["openclaw.json", "environment"] {
            parts.push(folder.read(name)?.unwrap_or_default());
        }
        // A version of the plugin that is not there yet is none.
        if let Ok(plugin) = Folder::open(&self.layout.plugin()) {
            for name in ["package.json", "openclaw.plugin.json"] {
                parts.push(plugin.read(name)?.unwrap_or_default());
            }
        }
        let dist = self.layout.plugin().join("dist");
        let mut scripts: Vec<PathBuf> =
            std::fs::read_dir(&dist).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        scripts.sort();
        for script in scripts {
            parts.push(script.as_os_str().as_encoded_bytes().to_vec());
            parts.push(std::fs::read(&script).map_err(SetupError::io("read", &script))?);
        }
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        Ok(digest::text(&parts))
    }

    /// Whether the gateway was last started with what has that fingerprint.
    pub fn is_applied(&self, fingerprint: &str) -> bool {
        let folder = Folder::open(&self.layout.gateway());
        folder.is_ok_and(|folder| {
            folder.read(APPLIED).ok().flatten().is_some_and(|text| text == fingerprint.as_bytes())
        })
    }

    /// Notes that it was.
    ///
    /// # Errors
    /// When the note cannot be written.
    pub fn set_applied(&self, fingerprint: &str) -> Result<(), SetupError> {
        let folder = Folder::open(&self.layout.gateway())?;
        folder.write(APPLIED, fingerprint.as_bytes(), Owner::caller(), 0o600).map(drop)
    }
}

/// JSON as a file: indented, with a last line end. A value of ours always has a text.
fn lines(value: &serde_json::Value) -> Vec<u8> {
    format!("{value:#}\n").into_bytes()
}

/// The file that systemd reads: one `NAME=value` a line.
fn environment(token: &str, configuration: &Path, state: &Path) -> Result<Vec<u8>, SetupError> {
    let mut text = format!("{TOKEN}={token}\n");
    for (name, value) in variables(configuration, &state.join("home"), &state.join("state")) {
        let value = value.to_str().filter(|value| !value.contains([' ', '\n', '"', '\'', '\\', '$']));
        let Some(value) = value else {
            return Err(SetupError::Refused {
                message: format!("{} is no path that systemd reads as it is", state.display()),
                hint: "use one without blanks, quotes and signs".to_owned(),
            });
        };
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name}={value}");
    }
    Ok(text.into_bytes())
}

/// 256 random bits in hexadecimal digits.
///
/// # Errors
/// When the kernel gives none.
pub fn new_token() -> Result<String, SetupError> {
    use std::io::Read as _;
    let path = Path::new("/dev/urandom");
    let mut bytes = [0_u8; 32];
    std::fs::File::open(path)
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(SetupError::io("read", path))?;
    Ok(digest::hexadecimal(&bytes))
}
