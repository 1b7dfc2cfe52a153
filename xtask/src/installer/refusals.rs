//! What the script does not do, and that it changes nothing when it does not do it.

use anyhow::{Result, ensure};

use super::Case;
use super::root::{Root, Said};

pub(super) const CASES: &[Case] = &[
    ("systems that are not supported are named and left alone", unsupported_systems),
    ("each supported system is accepted", supported_systems),
    ("os-release is read and not executed", os_release_is_data),
    ("a processor that is not supported is named", unsupported_processor),
    ("without systemd it says what to do instead", without_systemd),
    ("without root it says how, and --dry-run goes without", without_root),
    ("with nobody to ask it refuses, unless --yes is given", nobody_to_ask),
    ("whoever does not say yes has declined, and nothing changes", declined),
    ("--dry-run changes nothing", dry_run),
    ("half of the script, cut anywhere, does nothing", half_a_script),
    ("piped into a shell it takes no package that just lies there", piped),
    ("a package that is not whole, foreign or missing is refused", wrong_packages),
    ("too little room is found before anything is done", too_little_room),
    ("wrong options are named", wrong_options),
    ("who must not or cannot be the operator is refused", wrong_operators),
];

/// Fails unless the script ended so and nothing in the system differs from before.
fn refuses(root: &Root, arguments: &str, status: i32, texts: &[&str]) -> Result<()> {
    let before = root.differences()?;
    root.install(arguments)?.expect(status, texts)?;
    unchanged(root, &before)
}

fn unchanged(root: &Root, before: &str) -> Result<()> {
    let after = root.differences()?;
    ensure!(before == after, "before:\n{before}\nafter:\n{after}");
    Ok(())
}

fn becomes(root: &Root, os_release: &str) -> Result<Said> {
    root.shell_knowing(
        &[("TEXT", os_release)],
        "rm -f /etc/os-release; printf %b \"$TEXT\" > /etc/os-release",
    )
}

const INSTALL: &str = "--package /mnt/agentos.deb --no-start";

fn unsupported_systems(root: &Root) -> Result<()> {
    for (os_release, texts) in [
        (
            r#"ID=debian\nVERSION_ID="11"\nPRETTY_NAME="Debian 11 (bullseye)"\n"#,
            ["Debian 11 (bullseye)", "Supported: Debian 12"],
        ),
        (r#"ID=debian\nPRETTY_NAME="Debian forky/sid"\n"#, ["Debian forky/sid", "Supported: Debian 12"]),
        (
            r#"ID=ubuntu\nVERSION_ID="20.04"\nPRETTY_NAME="Ubuntu 20.04 LTS"\n"#,
            ["Ubuntu 20.04 LTS", "Supported: Debian 12"],
        ),
        (
            r#"ID=ubuntu\nVERSION_ID="25.10"\nPRETTY_NAME="Ubuntu 25.10"\n"#,
            ["Ubuntu 25.10", "Supported: Debian 12"],
        ),
        (
            r#"ID=linuxmint\nID_LIKE="ubuntu debian"\nVERSION_ID="12"\nPRETTY_NAME="Mint"\n"#,
            ["Mint", "Supported: Debian 12"],
        ),
        (
            r"ID=fedora\nVERSION_ID=43\nPRETTY_NAME='Fedora Linux 43'\n",
            ["Fedora Linux 43", "Supported: Debian 12"],
        ),
        (
            r#"ID=nixos\nVERSION_ID="25.05"\nPRETTY_NAME="NixOS 25.05"\n"#,
            ["NixOS 25.05", "a module of the project's flake"],
        ),
        ("", ["an unknown system", "Supported: Debian 12"]),
    ] {
        becomes(root, os_release)?.expect(0, &[])?;
        refuses(root, &format!("{INSTALL} --yes"), 3, &texts)?;
    }
    root.shell("rm /etc/os-release")?.expect(0, &[])?;
    refuses(root, &format!("{INSTALL} --yes"), 3, &["an unknown system"])
}

fn supported_systems(root: &Root) -> Result<()> {
    for (id, version, name) in [
        ("debian", "12", "Debian GNU/Linux 12 (bookworm)"),
        ("debian", "13", "Debian GNU/Linux 13 (trixie)"),
        ("ubuntu", "22.04", "Ubuntu 22.04.5 LTS"),
        ("ubuntu", "24.04", "Ubuntu 24.04.3 LTS"),
    ] {
        becomes(root, &format!(r#"PRETTY_NAME="{name}"\nVERSION_ID="{version}"\nID={id}\n"#))?
            .expect(0, &[])?;
        refuses(
            root,
            &format!("{INSTALL} --dry-run"),
            0,
            &[name, "nothing of it is replaced", "Never touched"],
        )?;
    }
    root.install(&format!("{INSTALL} --yes"))?.expect(0, &["AgentOS 0.1.0 is installed"])
}

fn os_release_is_data(root: &Root) -> Result<()> {
    becomes(root, r#"ID=debian\nVERSION_ID="$(touch /executed)"\nPRETTY_NAME="`touch /executed`\033[31m"\ntouch /executed\n"#)?
        .expect(0, &[])?;
    let said = root.install(&format!("{INSTALL} --yes"))?;
    said.expect(3, &["which is not supported"])?;
    said.expect_not("\u{1b}")?;
    ensure!(!root.written("/executed").exists(), "it was executed");
    Ok(())
}

fn unsupported_processor(root: &Root) -> Result<()> {
    root.shell("printf '#!/bin/sh\\necho riscv64\\n' > /usr/bin/dpkg")?.expect(0, &[])?;
    refuses(root, &format!("{INSTALL} --yes"), 3, &["riscv64", "amd64 and arm64"])
}

fn without_systemd(root: &Root) -> Result<()> {
    refuses(root, "--package /mnt/agentos.deb --yes", 3, &["systemd does not run here", "--no-start"])?;
    root.shell("mkdir -p /run/systemd/system")?.expect(0, &[])?;
    refuses(root, &format!("{INSTALL} --yes"), 2, &["--no-start is for where systemd does not run."])
}

fn without_root(root: &Root) -> Result<()> {
    let as_nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups /mnt/install.sh --package /mnt/agentos.deb --no-start";
    let before = root.differences()?;
    root.shell(&format!("{as_nobody} --yes"))?.expect(2, &["this needs root", "sudo"])?;
    let said = root.shell(&format!("{as_nobody} --dry-run"))?;
    said.expect(0, &["nothing was changed"])?;
    said.expect_not("warning")?;
    unchanged(root, &before)
}

fn nobody_to_ask(root: &Root) -> Result<()> {
    refuses(root, INSTALL, 2, &["no terminal to ask on", "--yes"])?;
    refuses(root, "--uninstall --purge", 2, &["no terminal to ask on"])?;
    root.install(&format!("{INSTALL} --yes"))?.expect(0, &["is installed"])
}

fn declined(root: &Root) -> Result<()> {
    let before = root.differences()?;
    for typed in ["n", "", "yesterday", "yes please"] {
        let said = root.install_typing(typed, INSTALL)?;
        said.expect(4, &["Go on? [y/N]", "declined: nothing was changed", "\u{1b}[1m"])?;
    }
    for typed in ["y", "yes", "Purge"] {
        root.install_typing(typed, "--uninstall --purge")?.expect(4, &["Type the word purge"])?;
    }
    unchanged(root, &before)?;
    root.install_typing("y", INSTALL)?.expect(0, &["✓", "is installed"])
}

fn dry_run(root: &Root) -> Result<()> {
    refuses(root, &format!("{INSTALL} --dry-run --yes"), 0, &["apt-get installs: /mnt/agentos.deb"])?;
    refuses(root, "--uninstall --purge --dry-run --yes", 0, &["deleted for good", "nothing was changed"])?;
    ensure!(root.differences()?.is_empty(), "it wrote {}", root.differences()?);
    root.shell("mkdir -p /run/systemd/system; echo key > /key")?.expect(0, &[])?;
    let whole = "--package /mnt/agentos.deb --model-key-file /key --registry file:///mirror --dry-run";
    refuses(
        root,
        whole,
        0,
        &["agentos-setup", "file:///mirror", "/key", "systemd starts agentd", "nothing was changed"],
    )?;
    root.shell("rm -r /run/systemd/system")?.expect(0, &[])?;
    root.install(&format!("{INSTALL} --yes"))?.expect(0, &["is installed"])?;
    refuses(root, &format!("{INSTALL} --dry-run"), 0, &["installed already"])?;
    refuses(root, "--package /mnt/newer.deb --no-start --dry-run", 0, &["upgrades from 0.1.0"])?;
    refuses(root, "--uninstall --dry-run", 0, &["kept for a later installation"])
}

fn half_a_script(root: &Root) -> Result<()> {
    // At each end of a line, and at each byte of the last lines.
    let halves = "n=$(wc -l < /mnt/install.sh); all=$(wc -c < /mnt/install.sh)
        run() { sh -s -- --package /mnt/agentos.deb --no-start --yes >> /dev/shm/said-$$ 2>&1 || :; }
        for i in $(seq 1 $((n - 1))); do head -n $i /mnt/install.sh | run; done
        for i in $(seq $((all - 60)) $((all - 3))); do head -c $i /mnt/install.sh | run; done
        cat /dev/shm/said-$$; rm /dev/shm/said-$$";
    let said = root.shell(halves)?;
    said.expect(0, &[])?;
    said.expect_not("✓")?;
    unchanged(root, "")?;
    root.shell("cat /mnt/install.sh | sh -s -- --package /mnt/agentos.deb --no-start --yes")?
        .expect(0, &["is installed"])
}

fn piped(root: &Root) -> Result<()> {
    root.shell(
        "mkdir /downloads; cp /mnt/agentos.deb /downloads/agentos_0.1.0_$(dpkg --print-architecture).deb",
    )?
    .expect(0, &[])?;
    let before = root.differences()?;
    root.shell("cd /downloads; cat /mnt/install.sh | sh -s -- --no-start --yes")?
        .expect(2, &["which package?", "--package"])?;
    unchanged(root, &before)?;
    root.shell("cp /mnt/install.sh /downloads; cd /; sh /downloads/install.sh --no-start --yes")?
        .expect(0, &["is installed"])?;
    root.shell("cd /downloads; cp agentos_0.1.0_* agentos_0.0.9_$(dpkg --print-architecture).deb; ./install.sh --no-start --yes")?
        .expect(2, &["there are several packages"])
}

fn wrong_packages(root: &Root) -> Result<()> {
    for (file, text) in [
        ("/mnt/broken.deb", "no whole package"),
        ("/mnt/another.deb", "no whole package"),
        ("/mnt/install.sh", "no whole package"),
        ("/nowhere/agentos.deb", "is not there"),
        ("/mnt/foreign.deb", "and this machine is"),
    ] {
        refuses(root, &format!("--package {file} --no-start --yes"), 2, &[file, text])?;
    }
    Ok(())
}

fn too_little_room(root: &Root) -> Result<()> {
    let run = "/mnt/install.sh --package /mnt/agentos.deb --yes";
    root.shell_within(60, &format!("{run} --no-start; s=$?; ls /usr/sbin/agentos-setup; exit $s"))?
        .expect(1, &["too little space: /usr needs 100 MB", "No such file"])?;
    root.shell_within(
        300,
        &format!("mkdir -p /run/systemd/system; {run}; s=$?; ls /usr/sbin/agentos-setup; exit $s"),
    )?
    .expect(1, &["too little space: /var/lib needs 1500 MB", "Make room", "No such file"])
}

fn wrong_options(root: &Root) -> Result<()> {
    for (arguments, text) in [
        ("--frobnicate", "there is no option --frobnicate"),
        ("--frobnicate=secret", "there is no option --frobnicate."),
        ("--package", "--package needs a value"),
        ("--purge", "--purge goes with --uninstall"),
        ("/mnt/agentos.deb", "A package goes after --package"),
    ] {
        refuses(root, &format!("{arguments} --yes"), 2, &[text])?;
    }
    refuses(root, "--help", 0, &["Example: sudo ./install.sh", "Exit status"])
}

fn wrong_operators(root: &Root) -> Result<()> {
    root.shell("useradd --system openclaw")?.expect(0, &[])?;
    refuses(root, &format!("{INSTALL} --yes --operator openclaw"), 2, &["the user of the agent"])?;
    refuses(root, &format!("{INSTALL} --yes --operator=nosuchuser"), 2, &["no user here"])?;
    refuses(root, &format!("{INSTALL} --yes --operator=--root=/evil"), 2, &["needs a value"])
}
