//! The set-up itself: configuration first, since it needs no network; then the runtime; then the services.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use agentos_setup::config::Config;
use agentos_setup::keys::Key;
use agentos_setup::layout::Layout;
use agentos_setup::runtime::{Expected, Options, Pinned, Runtime, prune};
use agentos_setup::system::System;
use agentos_setup::{Registry, Scheme, SetupError, service};
use serde_json::json;

use crate::cli::{Cli, Exit};
use crate::output::{Mark, Output};

/// curl, which the package depends on. An absolute path: root does not go by `PATH`.
const CURL: &str = "/usr/bin/curl";

/// Measured of the lock file that is shipped (204 MB and 836 MiB on ext4), rounded up.
const EXPECTED: Expected = Expected { download: 220_000_000, installed: 920_000_000 };

/// Longest file that a key is read from.
const LONGEST_KEY: u64 = 64 << 10;

/// Does all that is not done yet.
pub(crate) fn run(cli: &Cli, layout: &Layout, output: &mut Output) -> Result<Exit, SetupError> {
    let config = Config::load(&layout.configuration())?;
    if let Some(key) = key(cli, &config)? {
        key.write(&layout.keys())?;
        output.done(&format!(
            "the model's key is kept as {} in {}",
            key.variable(),
            layout.keys().join("model.env").display()
        ));
    }
    let pinned = Pinned::read(&layout.pinned())?;
    let system = System::plan(layout, &config)?;
    let rewritten = system.write()?;
    let written = if rewritten { "written" } else { "as it should be" };
    output.done(&format!("the gateway's configuration is {written}"));
    tell_model(&system, layout, output);

    let runtime = install(cli, layout, &config, &pinned, output)?;
    let used = prune(&layout.runtimes(), output)?;
    output.done(&format!("Node.js and OpenClaw are in {}", runtime.folder().display()));

    let fingerprint = system.fingerprint(&pinned.name())?;
    let mut gateway = None;
    if layout.is_this_system() && service::is_systemd() && !cli.no_start {
        service::set_rehearsal(system.model().scripted)?;
        let changed = !system.is_applied(&fingerprint);
        service::start_gateway(changed, config.port, |elapsed| {
            let detail = format!("{} s of usually 30", elapsed.as_secs());
            output.progress("starting the gateway", 0, None, &detail);
        })?;
        system.set_applied(&fingerprint)?;
        output.done(&format!("the gateway is ready on port {}", config.port));
        gateway = Some("ready");
        if !used.is_empty() {
            // The gateway that ran from it has ended.
            prune(&layout.runtimes(), output)?;
        }
    }
    let value = json!({
        "complete": true,
        "runtime": runtime.folder(),
        "model": system.model().reference(),
        "scripted": system.model().scripted,
        "port": config.port,
        "gateway": gateway,
    });
    let next = match gateway {
        Some(_) => "talk with the machine: agentctl chat".to_owned(),
        None => format!("start the gateway: systemctl restart {}", service::GATEWAY),
    };
    output.result(&value, &[("set up", next, Mark::Good)])?;
    Ok(Exit::Done)
}

/// Makes a mirror in `folder` and nothing else.
pub(crate) fn download(
    cli: &Cli,
    layout: &Layout,
    folder: &Path,
    output: &mut Output,
) -> Result<Exit, SetupError> {
    let failed = |source| SetupError::Io { action: "use", path: folder.to_owned(), source };
    let folder = std::path::absolute(folder).map_err(failed)?;
    let config = Config::load(&layout.configuration())?;
    let pinned = Pinned::read(&layout.pinned())?;
    let registry = registry(cli, layout, &config, &pinned)?;
    let options = Options {
        registry: Some(&registry),
        curl: Path::new(CURL),
        downloads: &folder,
        expected: expected(layout),
    };
    let count = pinned.download(&options, output)?;
    let address = format!("file://{}", folder.display());
    let value = json!({ "complete": true, "packages": count, "registry": address });
    let text = format!("{count} packages; use it with: agentos-setup --registry {address}");
    output.result(&value, &[("mirror", text, Mark::Good)])?;
    Ok(Exit::Done)
}

fn install(
    cli: &Cli,
    layout: &Layout,
    config: &Config,
    pinned: &Pinned,
    output: &mut Output,
) -> Result<Runtime, SetupError> {
    let runtime = if let Some(runtime) = pinned.installed(&layout.runtimes()) {
        runtime
    } else {
        let registry = match registry(cli, layout, config, pinned) {
            Ok(registry) => Some(registry).filter(|it| !cli.offline || it.scheme() == Scheme::File),
            Err(_) if cli.offline && cli.registry.is_none() => None,
            Err(error) => return Err(error),
        };
        let downloads = layout.downloads();
        let options = Options {
            registry: registry.as_ref(),
            curl: Path::new(CURL),
            downloads: &downloads,
            expected: expected(layout),
        };
        pinned.install(&layout.runtimes(), &options, output)?
    };
    runtime.make_current()?;
    Ok(runtime)
}

/// What is known of the lock file that the package ships; another root may have another.
fn expected(layout: &Layout) -> Option<Expected> {
    layout.is_this_system().then_some(EXPECTED)
}

/// The command line's, then that of `gateway.toml`, then that of the package.
fn registry(cli: &Cli, layout: &Layout, config: &Config, pinned: &Pinned) -> Result<Registry, SetupError> {
    if let Some(address) = &cli.registry {
        return Registry::parse(address);
    }
    let configuration = layout.configuration();
    let configured =
        config.registry().map_err(|message| SetupError::File { path: configuration.clone(), message })?;
    if let Some(registry) = configured {
        return Ok(registry);
    }
    pinned.registry()?.ok_or_else(|| SetupError::Refused {
        message: "nothing says where packages come from".to_owned(),
        hint: format!("give --registry URL, or set registry in {}", configuration.display()),
    })
}

fn key(cli: &Cli, config: &Config) -> Result<Option<Key>, SetupError> {
    if let Some(name) = &cli.model_key_env {
        let value = std::env::var(name).ok();
        return Key::of_variable(name, value.as_deref()).map(Some);
    }
    let Some(path) = &cli.model_key_file else { return Ok(None) };
    let mut text = String::new();
    File::open(path).and_then(|file| file.take(LONGEST_KEY).read_to_string(&mut text)).map_err(|source| {
        SetupError::Io { action: "read the model's key from", path: path.clone(), source }
    })?;
    Key::parse(&text, &config.model).map(Some)
}

fn tell_model(system: &System<'_>, layout: &Layout, output: &mut Output) {
    let model = system.model();
    if !model.scripted {
        output.done(&format!("the model is {}", model.reference()));
        return;
    }
    output.warning(&format!(
        "The model is SCRIPTED: it plays prepared scenes on real results, and thinks nothing.\n  There is no key for a \
         model in {}. For a real one: agentos-setup --model-key-file FILE",
        layout.keys().join("model.env").display()
    ));
}
