//! Taking it off: what stays, what goes, and that the record never goes.

use anyhow::{Result, ensure};

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
    let said = root.shell("ls -d /etc/agentos /var/lib/agentos* /var/lib/openclaw /var/cache/agentos* /etc/passwd; cat /var/lib/agentos/ledger.db")?;
    said.expect(0, &["record"]).or_else(|_| said.expect(2, &["record"]))?;
    for gone in
        ["/etc/agentos\n", "/var/lib/agentos-runtime\n", "/var/lib/agentos-gateway\n", "/var/lib/openclaw\n"]
    {
        ensure!(!said.text.lines().any(|line| line == gone.trim()), "{gone} is still there");
    }
    said.expect_not("secret")?;
    root.shell("cat /etc/passwd /var/lib/agentos/memory/day.md")?.expect(0, &["root:", "note"])
}

fn not_there(root: &Root) -> Result<()> {
    for arguments in ["--uninstall --yes", "--uninstall --purge --yes"] {
        root.install(arguments)?.expect(0, &["✓ AgentOS is not installed"])?;
    }
    Ok(())
}
