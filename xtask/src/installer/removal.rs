//! Taking it off: what stays, what goes, and that the record never goes.

use anyhow::Result;

use super::Case;
use super::root::Root;

pub(super) const CASES: &[Case] = &[
    ("the user who called sudo becomes an operator, once", operator),
    ("--uninstall keeps settings, ledger and memory", uninstall),
    ("--purge deletes all but the ledger and the memory", purge),
    ("taking off what is not there is well", not_there),
];

const PLAIN: &str = "--package /mnt/agentos.deb --no-start --yes";

/// What a machine has after some use.
const USED: &str = "mkdir -p /var/lib/agentos/memory /var/lib/agentos-runtime/current /var/lib/agentos-gateway \
    /var/lib/openclaw/state /var/cache/agentos-setup/npm
    echo record > /var/lib/agentos/ledger.db; echo note > /var/lib/agentos/memory/day.md; echo secret > /etc/agentos/model.env
    ln -s /etc /var/lib/openclaw/state/link; echo 'mine = 1' > /etc/agentos/agentd.toml";

fn operator(root: &Root) -> Result<()> {
    root.shell("useradd person; useradd other")?.expect(0, &[])?;
    root.shell(&format!("SUDO_USER=person /mnt/install.sh {PLAIN}"))?
        .expect(0, &["person may talk", "Making person an operator"])?;
    root.shell("id person")?.expect(0, &["(agentos-operators)"])?;
    root.shell(&format!("SUDO_USER=person /mnt/install.sh {PLAIN}"))?.expect(0, &[])?;
    root.shell(&format!("SUDO_USER=other /mnt/install.sh {PLAIN} --no-operator"))?
        .expect(0, &["nobody but root"])?;
    root.shell(&format!("SUDO_USER=root /mnt/install.sh {PLAIN}"))?.expect(0, &["nobody but root"])?;
    root.shell("getent group agentos-operators")?.expect(0, &[":person\n"])
}

fn uninstall(root: &Root) -> Result<()> {
    root.install(PLAIN)?.expect(0, &[])?;
    root.shell(USED)?.expect(0, &[])?;
    root.install("--uninstall --yes")?.expect(
        0,
        &[
            "✓ Removing the package",
            "remains: /var/lib/agentos\n",
            "remains: /etc/agentos",
            "sudo rm -r /var/lib/agentos",
        ],
    )?;
    root.shell("cat /var/lib/agentos/ledger.db /var/lib/agentos/memory/day.md /etc/agentos/*; test ! -e /usr/sbin/agentos-setup")?
        .expect(0, &["record\nnote\nmine = 1\nsecret\n"])?;
    root.install(PLAIN)?.expect(0, &["is installed"])?;
    root.shell("cat /etc/agentos/agentd.toml")?.expect(0, &["mine = 1"])
}

fn purge(root: &Root) -> Result<()> {
    root.install(PLAIN)?.expect(0, &[])?;
    root.shell(USED)?.expect(0, &[])?;
    root.install_typing("purge", "--uninstall --purge")?
        .expect(0, &["deleted for good", "Purging the package"])?;
    let list = "ls -d /etc/agentos /var/lib/* /var/cache/* 2>/dev/null; cat /var/lib/agentos/*.db /var/lib/agentos/memory/*";
    let left = root.shell(list)?;
    left.expect(0, &["/var/lib/agentos\n", "record\nnote\n"])?;
    for gone in ["/etc/agentos", "agentos-runtime", "agentos-gateway", "openclaw", "agentos-setup"] {
        left.expect_not(gone)?;
    }
    // There was a link to /etc in it, which is not followed.
    root.shell("cat /etc/passwd")?.expect(0, &["root:"])
}

fn not_there(root: &Root) -> Result<()> {
    for arguments in ["--uninstall --yes", "--uninstall --purge --yes"] {
        root.install(arguments)?.expect(0, &["✓ AgentOS is not installed"])?;
    }
    Ok(())
}
