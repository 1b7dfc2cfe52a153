//! Which model answers: one of a provider whose key is there, one at an address of the user's, or the scripted one. Keys
//! are passed by the names of their variables; none is seen here.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::config::{ModelWish, Provider};

/// The variable with the key for a server of the user's own.
pub const OWN_KEY: &str = "AGENTOS_MODEL_KEY";

/// Providers that OpenClaw knows: the variable with the key, the provider, its id, the model where none is named.
const PROVIDERS: [(&str, Provider, &str, &str); 3] = [
    ("ANTHROPIC_API_KEY", Provider::Anthropic, "anthropic", "claude-opus-5"),
    ("OPENAI_API_KEY", Provider::OpenAi, "openai", "gpt-5.6-sol"),
    ("OPENROUTER_API_KEY", Provider::OpenRouter, "openrouter", "auto"),
];

/// The variables that a key may stand in.
pub const KEYS: [&str; 4] = ["ANTHROPIC_API_KEY", "OPENAI_API_KEY", "OPENROUTER_API_KEY", OWN_KEY];

/// A model that OpenClaw is told to use.
#[derive(Clone, Debug)]
pub struct Model {
    /// The provider's id in OpenClaw's configuration.
    pub provider: String,
    /// The model's name.
    pub name: String,
    /// The provider's entry in `models.providers`; `None` for one that OpenClaw knows by itself.
    pub definition: Option<Value>,
    /// The variable that holds the key.
    pub key: Option<&'static str>,
    /// Whether answers come from a script.
    pub scripted: bool,
}

impl Model {
    /// The model that is wanted, or that a key stands for; `None`: the scripted one. `has_key` answers whether a variable
    /// holds a key.
    pub fn choose(wish: &ModelWish, has_key: impl Fn(&str) -> bool) -> Option<Self> {
        if wish.provider == Provider::Scripted {
            return None;
        }
        if let (Provider::Auto | Provider::Own, Some(url), Some(name)) =
            (wish.provider, &wish.url, &wish.name)
        {
            let key = has_key(OWN_KEY).then_some(OWN_KEY);
            let reference = if key.is_some() { format!("${{{OWN_KEY}}}") } else { "none".to_owned() };
            return Some(Self {
                definition: Some(definition(url, &reference, name)),
                provider: "own".to_owned(),
                name: name.clone(),
                key,
                scripted: false,
            });
        }
        PROVIDERS
            .into_iter()
            .filter(|(_, provider, ..)| [Provider::Auto, *provider].contains(&wish.provider))
            .find(|(variable, ..)| has_key(variable))
            .map(|(variable, _, id, default)| Self {
                provider: id.to_owned(),
                name: wish.name.clone().unwrap_or_else(|| default.to_owned()),
                definition: None,
                key: Some(variable),
                scripted: false,
            })
    }

    /// The scripted model that listens on `address`.
    pub fn scripted(address: SocketAddr) -> Self {
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
    pub fn reference(&self) -> String {
        format!("{}/{}", self.provider, self.name)
    }
}

/// The variable that a key belongs in: by the wished provider, or by how the provider's keys begin.
pub fn variable_of(key: &str, wish: &ModelWish) -> Option<&'static str> {
    let of = |wanted: Provider| {
        PROVIDERS.into_iter().find(|(_, provider, ..)| *provider == wanted).map(|(variable, ..)| variable)
    };
    match wish.provider {
        Provider::Own => Some(OWN_KEY),
        Provider::Auto if wish.url.is_some() => Some(OWN_KEY),
        Provider::Auto | Provider::Scripted if key.starts_with("sk-ant-") => of(Provider::Anthropic),
        Provider::Auto | Provider::Scripted if key.starts_with("sk-or-") => of(Provider::OpenRouter),
        Provider::Auto | Provider::Scripted if key.starts_with("sk-") => of(Provider::OpenAi),
        provider => of(provider),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_key_the_scripted_model_plays() {
        assert!(Model::choose(&ModelWish::default(), |_| false).is_none());
        let wish = ModelWish { provider: Provider::OpenAi, ..ModelWish::default() };
        assert!(Model::choose(&wish, |name| name == "ANTHROPIC_API_KEY").is_none());
    }

    #[test]
    fn a_key_chooses_its_provider_and_scripted_overrules_it() {
        let has = |name: &str| name == "OPENAI_API_KEY";
        assert_eq!(Model::choose(&ModelWish::default(), has).unwrap().reference(), "openai/gpt-5.6-sol");
        let wish = ModelWish { provider: Provider::Scripted, ..ModelWish::default() };
        assert!(Model::choose(&wish, has).is_none());
        let wish = ModelWish { provider: Provider::OpenAi, ..ModelWish::default() };
        assert_eq!(Model::choose(&wish, |_| true).unwrap().key, Some("OPENAI_API_KEY"));
    }

    #[test]
    fn a_server_of_ones_own_gets_its_key_by_name() {
        let wish = ModelWish {
            url: Some("http://127.0.0.1:1/v1".into()),
            name: Some("m".into()),
            provider: Provider::Auto,
        };
        let text = Model::choose(&wish, |_| true).unwrap().definition.unwrap().to_string();
        assert!(text.contains("${AGENTOS_MODEL_KEY}"), "{text}");
        assert_eq!(Model::choose(&wish, |_| false).unwrap().key, None);
    }

    #[test]
    fn a_bare_key_finds_its_variable() {
        let auto = ModelWish::default();
        for (key, variable) in [
            ("sk-ant-x", Some("ANTHROPIC_API_KEY")),
            ("sk-or-x", Some("OPENROUTER_API_KEY")),
            ("sk-x", Some("OPENAI_API_KEY")),
            ("x", None),
        ] {
            assert_eq!(variable_of(key, &auto), variable);
        }
        let wish = ModelWish { provider: Provider::Anthropic, ..ModelWish::default() };
        assert_eq!(variable_of("x", &wish), Some("ANTHROPIC_API_KEY"));
    }
}
