//! The model's key reaches the program that stores it, and nothing else: no argument, no log, no other program.

use std::fs;

use anyhow::{Result, ensure};

use super::Case;
use super::root::{Root, Said};

pub(super) const CASES: &[Case] = &[
    ("a key on the command line is refused and not repeated", key_as_argument),
    ("a key in a file reaches nothing but its name", key_in_a_file),
    ("a key in the environment reaches agentos-setup alone", key_in_the_environment),
    ("a file with a key that cannot be read is said before anything is done", key_file_missing),
    ("registry and --offline are handed on; without a network agentd works alone", handed_on),
    ("a gateway that cannot be set up is a failure", setup_fails),
];

const KEY: &str = "sk-ant-api03-swordfish";

fn key_as_argument(root: &Root) -> Result<()> {
    for arguments in [
        KEY,
        &format!("--model-key {KEY}"),
        &format!("--model-key={KEY}"),
        &format!("--api-key={KEY}"),
        &format!("--model-key-file {KEY}"),
        &format!("--model-key-file={KEY}"),
        &format!("--registry {KEY}"),
        &format!("ANTHROPIC_API_KEY={KEY}"),
    ] {
        let said = root.install(&format!("--package /mnt/agentos.deb --no-start --yes {arguments}"))?;
        said.expect(2, &["every user of the machine can read it", "--model-key-file FILE"])?;
        said.expect_not("swordfish")?;
    }
    let said = root.install("--package /mnt/agentos.deb --no-start --yes swordfish")?;
    said.expect(2, &["a key is never an argument"])?;
    said.expect_not("swordfish")?;
    ensure!(root.differences()?.is_empty(), "something was changed");
    Ok(())
}

/// Runs it as on a machine with systemd. Nothing can be started there, so it ends with a failure after the set-up.
fn set_up(root: &Root, variables: &[(&str, &str)], arguments: &str) -> Result<Said> {
    let script = "mkdir -p /run/systemd/system; /mnt/install.sh --package /mnt/agentos.deb --yes";
    let said = root.shell_knowing(variables, &format!("{script} {arguments}"))?;
    said.expect(1, &["✗ Not so: agentd.socket runs", "not all is well"])?;
    said.expect_not("swordfish")?;
    for file in
        ["/setup-arguments", "/command-lines", "/postinst-environment", "/var/log/agentos-install.log"]
    {
        let bytes = fs::read(root.written(file))?;
        ensure!(!String::from_utf8_lossy(&bytes).contains("swordfish"), "the key is in {file}");
    }
    Ok(said)
}

fn kept(root: &Root, file: &str) -> Result<String> {
    Ok(fs::read_to_string(root.written(file))?)
}

fn key_in_a_file(root: &Root) -> Result<()> {
    root.shell(&format!("umask 077; echo {KEY} > /key"))?.expect(0, &[])?;
    let said = set_up(root, &[], "--model-key-file /key")?;
    said.expect(1, &["the model's key: /key"])?;
    ensure!(kept(root, "/setup-arguments")? == "--model-key-file /key\n");
    ensure!(!kept(root, "/setup-environment")?.contains("swordfish"));
    Ok(())
}

fn key_in_the_environment(root: &Root) -> Result<()> {
    for name in ["ANTHROPIC_API_KEY", "OPENAI_API_KEY", "OPENROUTER_API_KEY"] {
        let said = set_up(root, &[(name, KEY), ("key", "x"), ("value", "x")], "")?;
        said.expect(1, &[&format!("the model's key: {name}")])?;
        ensure!(kept(root, "/setup-arguments")? == format!("--model-key-env {name}\n"));
        let environment = kept(root, "/setup-environment")?;
        ensure!(environment.lines().filter(|line| line.contains("swordfish")).eq([format!("{name}={KEY}")]));
        root.shell("dpkg --purge agentos")?.expect(0, &[])?;
    }
    Ok(())
}

fn key_file_missing(root: &Root) -> Result<()> {
    root.shell("touch /empty")?.expect(0, &[])?;
    let before = root.differences()?;
    for file in ["/nowhere", "/empty", "/etc"] {
        root.install(&format!("--package /mnt/agentos.deb --no-start --yes --model-key-file {file}"))?
            .expect(2, &["cannot be read, or is empty"])?;
    }
    ensure!(root.differences()? == before, "something was changed");
    Ok(())
}

fn handed_on(root: &Root) -> Result<()> {
    let said = set_up(root, &[], "--registry 'file:///a mirror' --offline")?;
    said.expect(1, &["! No way to the registry: agentd works, the gateway is missing"])?;
    ensure!(kept(root, "/setup-arguments")? == "--registry file:///a mirror --offline\n");
    Ok(())
}

fn setup_fails(root: &Root) -> Result<()> {
    root.shell("touch /setup-fails")?.expect(0, &[])?;
    set_up(root, &[], "")?.expect(1, &["✗ The gateway is not set up: agentos-setup ended with 1"])
}
