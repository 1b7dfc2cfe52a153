//! Which model answers: one of a provider whose key is in the environment, one at an address of the user's, or the
//! scripted one.

use std::fs;
use std::process::Command;
use std::time::Duration;

use agentos_setup::config::{ModelWish, Provider};
use agentos_setup::model::Model;
use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::binaries::Binaries;
use super::identity::Identity;
use super::part::Part;
use super::places::Places;
use crate::project;

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

impl ModelArguments {
    /// The model that was asked for, or that a key in the environment stands for; `None`: the scripted one.
    ///
    /// # Errors
    /// When a model is named and nothing says whose.
    pub(crate) fn choose(&self, environment: impl Fn(&str) -> Option<String>) -> Result<Option<Model>> {
        let provider = if self.scripted { Provider::Scripted } else { Provider::Auto };
        let wish = ModelWish { provider, name: self.model.clone(), url: self.model_url.clone() };
        let model = Model::choose(&wish, |name| environment(name).is_some_and(|key| !key.is_empty()));
        match &self.model {
            Some(name) if model.is_none() => bail!(
                "nothing says whose model {name} is: set ANTHROPIC_API_KEY, OPENAI_API_KEY or OPENROUTER_API_KEY, or \
                 give --model-url"
            ),
            _ => Ok(model),
        }
    }
}

/// One line for the banner.
pub(crate) fn describe(model: &Model) -> String {
    if model.scripted {
        "scripted: it plays prepared scenes on real results, and thinks nothing. A real model: set \
         ANTHROPIC_API_KEY, OPENAI_API_KEY or OPENROUTER_API_KEY, or give --model-url and --model"
            .to_owned()
    } else {
        model.reference()
    }
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

    #[test]
    fn a_key_that_is_empty_is_none_and_scripted_overrules_one() {
        let empty = |name: &str| (name == "OPENAI_API_KEY").then(String::new);
        assert!(ModelArguments::default().choose(empty).unwrap().is_none());
        let key = |name: &str| (name == "OPENAI_API_KEY").then(|| "secret".to_owned());
        assert_eq!(ModelArguments::default().choose(key).unwrap().unwrap().provider, "openai");
        let arguments = ModelArguments { scripted: true, ..ModelArguments::default() };
        assert!(arguments.choose(key).unwrap().is_none());
    }

    #[test]
    fn a_name_alone_says_too_little() {
        let arguments = ModelArguments { model: Some("m".into()), ..ModelArguments::default() };
        assert!(arguments.choose(|_| None).is_err());
    }
}
