//! The whole stack: agentd, a model, the gateway with the plugin. It starts in that order, stops in the reverse, and
//! takes one turn at a time.

use std::path::PathBuf;

use agentos_api::event::Event;
use agentos_client::Client;
use agentos_client::gateway::{Access, Conversation, Session};
use agentos_setup::model::Model;
use anyhow::Result;

use super::binaries::Binaries;
use super::gateway::{self, Gateway};
use super::identity::Identity;
use super::model;
use super::part::Part;
use super::places::Places;
use super::{agentd, port};
use crate::plugin;
use crate::progress::Step;
use crate::runtime::Runtime;

/// What a stack is started with.
#[derive(Debug)]
pub(crate) struct Options {
    /// The folder for its state.
    pub(crate) state: PathBuf,
    /// The gateway's port; a free one when left out.
    pub(crate) port: Option<u16>,
    /// The model; the scripted one when left out.
    pub(crate) model: Option<Model>,
    /// Whether a yes may come through the chat.
    pub(crate) chat: bool,
}

/// A running stack.
pub(crate) struct Stack {
    places: Places,
    model: Model,
    agentd: Part,
    scripted: Option<Part>,
    gateway: Gateway,
    client: Client,
}

/// One turn: what the agent answered, and what it caused on the record.
#[derive(Debug)]
pub(crate) struct Turn {
    /// The answer.
    pub(crate) answer: String,
    /// The events that were recorded while it was made, oldest first.
    pub(crate) events: Vec<Event>,
}

impl Stack {
    /// Starts everything and waits until a turn can be taken.
    ///
    /// # Errors
    /// When a part does not start: then those that did are stopped.
    pub(crate) async fn start(options: Options, binaries: &Binaries, runtime: &Runtime) -> Result<Self> {
        let port = port::choose(options.port)?;
        let places = Places::take(&options.state)?;
        let identity = places.identity();
        plugin::lay_out(&places.plugin())?;
        gateway::fill_workspace(&places)?;
        let step = Step::begin("starting agentd");
        let agentd = agentd::start(&binaries.agentd(), &places, identity, options.chat).await?;
        step.done();
        let (scripted, model) = if let Some(model) = options.model {
            (None, model)
        } else {
            let (process, model) = model::start_scripted(binaries, &places, identity).await?;
            (Some(process), model)
        };
        let step = Step::begin("starting OpenClaw's gateway (about half a minute)");
        let gateway = gateway::start(runtime, &places, identity, &model, port).await?;
        step.done();
        let client = Client::new(places.operator_socket());
        Ok(Self { places, model, agentd, scripted, gateway, client })
    }

    /// Its folders.
    pub(crate) fn places(&self) -> &Places {
        &self.places
    }

    /// Whom the gateway runs as.
    pub(crate) fn identity(&self) -> Identity {
        self.places.identity()
    }

    /// The model that answers.
    pub(crate) fn model(&self) -> &Model {
        &self.model
    }

    /// The gateway.
    pub(crate) fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// agentd's socket for the operator.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// A conversation with the agent that nobody else takes part in.
    ///
    /// # Errors
    /// When `session` cannot name one.
    pub(crate) fn conversation(&self, session: &str) -> Result<Conversation> {
        let access = Access::new(self.gateway.address, &self.gateway.token)?;
        Ok(Conversation::new(access, Session::new(session)?))
    }

    /// Says `text` in `conversation`.
    ///
    /// # Errors
    /// When the turn fails, or a part of the stack has ended: that one with the end of its log.
    pub(crate) async fn turn(&mut self, conversation: &mut Conversation, text: &str) -> Result<Turn> {
        let before = self.client.newest_event().await?;
        let answered = async { conversation.say(text).await?.whole().await };
        let answer = match answered.await {
            Ok(answer) => answer,
            Err(error) => {
                self.check()?;
                return Err(error.into());
            }
        };
        Ok(Turn { answer, events: self.client.events_after(before).await? })
    }

    /// Fails when a part has ended.
    ///
    /// # Errors
    /// When one has: with the end of its log.
    pub(crate) fn check(&mut self) -> Result<()> {
        self.agentd.check()?;
        if let Some(scripted) = &mut self.scripted {
            scripted.check()?;
        }
        self.gateway.part.check()
    }

    /// Stops agentd alone, as when it is stopped under a running gateway.
    pub(crate) async fn stop_agentd(&mut self) {
        self.agentd.stop().await;
    }

    /// Stops everything. Dropping the stack stops it too, at once and without waiting.
    pub(crate) async fn stop(mut self) {
        self.gateway.part.stop().await;
        if let Some(scripted) = &mut self.scripted {
            scripted.stop().await;
        }
        self.agentd.stop().await;
    }
}
