//! Which model answers: one of a provider whose key is in the environment, one at an address of the user's, or the
//! scripted one.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::binaries::Binaries;
use super::identity::Identity;
use super::part::Part;
use super::places::Places;
use crate::project;

/// The variable with the key for `--model-url`.
const OWN_KEY: &str = "AGENTOS_MODEL_KEY";

/// What the user asked for.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct ModelArguments {
    /// Base address of an OpenAI-compatible server, up to and with `/v1`; its key, if any, in `AGENTOS_MODEL_KEY`.
    #[arg(long, value_name = "URL", requires = "model")]
    pub(crate) model_url: Option<String>,
    /// The model's name, as its server or provider knows it.
    #[arg(long, value_name = "NAME")]
    pub(crate) model: Option<String>,
    /// Play the scripted model, also when a key is in the environment.
    #[arg(long, conflicts_with_all = ["model_url", "model"])]
    pub(crate) scripted: bool,
}

/// A model that OpenClaw is told to use.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    /// The provider's id in OpenClaw's configuration.
    pub(crate) provider: String,
    /// The model's name.
    pub(crate) name: String,
    /// The provider's entry in `models.providers`; `None` for one that OpenClaw knows by itself.
    pub(crate) definition: Option<Value>,
    /// The variable that holds the key, and the key. It reaches the gateway through its environment only.
    pub(crate) key: Option<(&'static str, String)>,
    /// Whether answers come from a script.
    pub(crate) scripted: bool,
}

/// Providers that OpenClaw knows: the variable with the key, the id, the model where none is named.
const PROVIDERS: [(&str, &str, &str); 3] = [
    ("ANTHROPIC_API_KEY", "anthropic", "claude-opus-5"),
    ("OPENAI_API_KEY", "openai", "gpt-5.6-sol"),
    ("OPENROUTER_API_KEY", "openrouter", "auto"),
];

impl Model {
    /// The model that was asked for, or that a key in the environment stands for; `None`: the scripted one.
    ///
    /// # Errors
    /// When a model is named and nothing says whose.
    pub(crate) fn choose(
        arguments: &ModelArguments,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>> {
        if arguments.scripted {
            return Ok(None);
        }
        if let (Some(url), Some(name)) = (&arguments.model_url, &arguments.model) {
            let key = environment(OWN_KEY).map(|key| (OWN_KEY, key));
            let reference = if key.is_some() { format!("${{{OWN_KEY}}}") } else { "none".to_owned() };
            return Ok(Some(Self {
                definition: Some(definition(url, &reference, name)),
                provider: "own".to_owned(),
                name: name.clone(),
                key,
                scripted: false,
            }));
        }
        for (variable, provider, default) in PROVIDERS {
            let Some(key) = environment(variable).filter(|key| !key.is_empty()) else { continue };
            return Ok(Some(Self {
                provider: provider.to_owned(),
                name: arguments.model.clone().unwrap_or_else(|| default.to_owned()),
                definition: None,
                key: Some((variable, key)),
                scripted: false,
            }));
        }
        match &arguments.model {
            Some(name) => bail!(
                "nothing says whose model {name} is: set ANTHROPIC_API_KEY, OPENAI_API_KEY or OPENROUTER_API_KEY, or \
                 give --model-url"
            ),
            None => Ok(None),
        }
    }

    /// The scripted model that listens on `address`.
    fn scripted(address: SocketAddr) -> Self {
        let name = "agentos-rehearsal";
        Self {
            definition: Some(definition(&format!("http://{address}/v1"), "none", name)),
            provider: "rehearsal".to_owned(),
            name: name.to_owned(),
            key: None,
            scripted: true,
        }
    }

    /// The model's name with its provider, as OpenClaw writes it.
    pub(crate) fn reference(&self) -> String {
        format!("{}/{}", self.provider, self.name)
    }

    /// One line for the banner.
    pub(crate) fn describe(&self) -> String {
        if self.scripted {
            "scripted: it plays prepared scenes on real results, and thinks nothing. A real model: set \
             ANTHROPIC_API_KEY, OPENAI_API_KEY or OPENROUTER_API_KEY, or give --model-url and --model"
                .to_owned()
        } else {
            self.reference()
        }
    }
}

fn definition(url: &str, key: &str, name: &str) -> Value {
    json!({
        "baseUrl": url,
        "apiKey": key,
        "api": "openai-completions",
        "models": [{
            "id": name,
            "name": name,
            "reasoning": false,
            "input": ["text"],
            "cost": { "input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0 },
            "contextWindow": 128_000,
            "maxTokens": 8192,
        }],
    })
}

/// Starts the scripted model as the gateway's user and waits for its address.
///
/// # Errors
/// When it does not start: with the end of its log.
pub(crate) async fn start_scripted(
    binaries: &Binaries,
    places: &Places,
    identity: Identity,
) -> Result<(Part, Model)> {
    // A copy, since the gateway's user may not be able to enter the folder it was built in.
    project::make_folder(&places.programs())?;
    let program = places.programs().join("agentos-rehearsal");
    let _ = fs::remove_file(&program);
    fs::copy(binaries.rehearsal(), &program).context("cannot copy the scripted model")?;
    let mut command = Command::new(&program);
    command.args(["--listen", "127.0.0.1:0"]).env_clear();
    let mut part =
        Part::start("the scripted model", command, &places.log("model"), identity, Duration::from_secs(5))?;
    let printed = places.log("model");
    let address = part
        .wait_for(Duration::from_secs(10), async || {
            let text = fs::read_to_string(&printed).ok()?;
            let line: Value = serde_json::from_str(text.lines().next()?).ok()?;
            line.get("listening")?.as_str()?.parse().ok()
        })
        .await?;
    Ok((part, Model::scripted(address)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(set: &'static [(&str, &str)]) -> impl Fn(&str) -> Option<String> {
        |name| set.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned())
    }

    #[test]
    fn without_a_key_the_scripted_model_plays() {
        assert!(Model::choose(&ModelArguments::default(), environment(&[])).unwrap().is_none());
        assert!(
            Model::choose(&ModelArguments::default(), environment(&[("OPENAI_API_KEY", "")]))
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn a_key_chooses_its_provider_and_scripted_overrules_it() {
        let keys = environment(&[("OPENAI_API_KEY", "secret")]);
        let model = Model::choose(&ModelArguments::default(), &keys).unwrap().unwrap();
        assert_eq!(model.provider, "openai");
        let arguments = ModelArguments { scripted: true, ..ModelArguments::default() };
        assert!(Model::choose(&arguments, &keys).unwrap().is_none());
    }

    #[test]
    fn a_key_stands_in_no_definition() {
        let arguments = ModelArguments {
            model_url: Some("http://127.0.0.1:1/v1".into()),
            model: Some("m".into()),
            scripted: false,
        };
        let model = Model::choose(&arguments, environment(&[(OWN_KEY, "secret")])).unwrap().unwrap();
        let text = model.definition.unwrap().to_string();
        assert!(!text.contains("secret") && text.contains("${AGENTOS_MODEL_KEY}"), "{text}");
    }

    #[test]
    fn a_name_alone_says_too_little() {
        let arguments = ModelArguments { model: Some("m".into()), ..ModelArguments::default() };
        assert!(Model::choose(&arguments, environment(&[])).is_err());
    }
}
