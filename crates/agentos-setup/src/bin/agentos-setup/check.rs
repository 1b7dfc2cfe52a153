//! `--check`: how far the set-up is, changing nothing.

use agentos_setup::SetupError;
use agentos_setup::config::Config;
use agentos_setup::layout::Layout;
use agentos_setup::runtime::Pinned;
use agentos_setup::service::{self, State};
use agentos_setup::system::System;
use serde_json::json;

use crate::cli::Exit;
use crate::output::{Mark, Output};

pub(crate) fn run(layout: &Layout, output: &mut Output) -> Result<Exit, SetupError> {
    let pinned = Pinned::read(&layout.pinned())?;
    let config = Config::load(&layout.configuration())?;
    let system = System::plan(layout, &config)?;
    let runtime = pinned.installed(&layout.runtimes()).filter(agentos_setup::runtime::Runtime::is_current);
    let wrong = system.wrong()?;
    let complete = runtime.is_some() && wrong.is_none();
    let applied = match &runtime {
        Some(_) if complete => system.is_applied(&system.fingerprint(&pinned.name())?),
        _ => false,
    };
    let mark = |good: bool| if good { Mark::Good } else { Mark::Bad };
    let missing = || "not installed; run: agentos-setup".to_owned();
    let mut lines = vec![
        (
            "runtime",
            runtime.as_ref().map_or_else(missing, |runtime| runtime.folder().display().to_string()),
            mark(runtime.is_some()),
        ),
        (
            "configuration",
            wrong.as_ref().map_or_else(
                || "as gateway.toml says".to_owned(),
                |path| format!("{} is not as it should be; run: agentos-setup", path.display()),
            ),
            mark(wrong.is_none()),
        ),
        (
            "model",
            system.model().reference(),
            if system.model().scripted { Mark::Warning } else { Mark::Good },
        ),
    ];
    let mut gateway = None;
    if layout.is_this_system() && service::is_systemd() {
        let state = State::of(service::GATEWAY)?;
        let ready = service::is_ready(config.port);
        let text = match (ready, applied) {
            (true, true) => format!("{}, ready on port {}", state.word(), config.port),
            (true, false) => format!("{}, not started anew since something changed", state.word()),
            (false, _) => format!("{}, not ready", state.word()),
        };
        lines.push(("gateway", text, if ready && applied { Mark::Good } else { Mark::Warning }));
        gateway = Some(json!({ "state": state.word(), "ready": ready, "up_to_date": applied }));
    }
    let value = json!({
        "complete": complete,
        "runtime": runtime.map(|runtime| runtime.folder().to_owned()),
        "wrong": wrong,
        "model": system.model().reference(),
        "scripted": system.model().scripted,
        "port": config.port,
        "gateway": gateway,
    });
    output.result(&value, &lines)?;
    Ok(if complete { Exit::Done } else { Exit::Failed })
}
