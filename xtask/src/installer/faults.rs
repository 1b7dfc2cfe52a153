//! What goes wrong while it works, and that the same command again makes it whole.

use std::fs;

use anyhow::{Result, ensure};

use super::Case;
use super::root::Root;

pub(super) const CASES: &[Case] = &[
    ("twice is as good as once", twice),
    ("a package of the same version with other files is installed again", rebuilt),
    ("an upgrade keeps what was edited; there is no way back", upgrade),
    ("cut off before the files are there, it goes on", cut_off_before),
    ("cut off in the middle of configuring, it goes on", cut_off_after),
    ("what was cut off can be taken off", cut_off_and_removed),
    ("a disk that fills up in the middle is said, and with room it goes on", disk_fills_up),
    ("it waits for another dpkg, and says so", waits_for_another),
    ("a hostile PATH and environment reach nothing", hostile_environment),
    ("a link in the log's place is not followed", log_is_no_link),
];

const PLAIN: &str = "--package /mnt/agentos.deb --no-start --yes";

fn is_installed(root: &Root, version: &str) -> Result<()> {
    root.shell("dpkg-query --show --showformat '${db:Status-Status} ${Version}\\n' agentos; dpkg --audit")?
        .expect(0, &[&format!("installed {version}\n")])
}

fn twice(root: &Root) -> Result<()> {
    root.install(PLAIN)?.expect(0, &["✓ Installing AgentOS 0.1.0"])?;
    let files = "cat /var/lib/dpkg/status /etc/group /etc/passwd /etc/agentos/* | sha256sum";
    let before = root.shell(files)?;
    let again = root.install(PLAIN)?;
    again.expect(0, &["installed already", "✓ AgentOS 0.1.0 is installed"])?;
    ensure!(root.shell(files)?.text == before.text, "the second time changed something");
    is_installed(root, "0.1.0")
}

fn rebuilt(root: &Root) -> Result<()> {
    root.install(PLAIN)?.expect(0, &[])?;
    root.install("--package /mnt/rebuilt.deb --no-start --yes")?.expect(0, &["installs again"])?;
    root.shell("stat --format=%s /usr/lib/agentos/payload")?.expect(0, &["1048576"])
}

fn upgrade(root: &Root) -> Result<()> {
    root.install(PLAIN)?.expect(0, &[])?;
    root.shell("echo 'mine = 1' > /etc/agentos/agentd.toml")?.expect(0, &[])?;
    root.install("--package /mnt/newer.deb --no-start --yes")?
        .expect(0, &["upgrades from 0.1.0", "AgentOS 0.2.0 is installed"])?;
    is_installed(root, "0.2.0")?;
    root.shell("cat /etc/agentos/agentd.toml")?.expect(0, &["mine = 1"])?;
    root.install(PLAIN)?.expect(1, &["AgentOS 0.2.0 is installed; going back to 0.1.0 is not supported"])?;
    is_installed(root, "0.2.0")
}

fn cut_off(root: &Root, at: &str) -> Result<()> {
    root.shell(&format!("touch {at}"))?.expect(0, &[])?;
    root.cut_off(&format!("/mnt/install.sh {PLAIN}"), "/reached")?;
    root.shell(&format!("rm {at} /reached; dpkg --audit"))?.expect(0, &["agentos"])
}

fn goes_on(root: &Root) -> Result<()> {
    root.install(PLAIN)?.expect(0, &["cut off here", "AgentOS 0.1.0 is installed"])?;
    is_installed(root, "0.1.0")?;
    root.install(PLAIN)?.expect_not("cut off here")
}

fn cut_off_before(root: &Root) -> Result<()> {
    cut_off(root, "/hang-before")?;
    goes_on(root)
}

fn cut_off_after(root: &Root) -> Result<()> {
    cut_off(root, "/hang-after")?;
    goes_on(root)
}

fn cut_off_and_removed(root: &Root) -> Result<()> {
    for at in ["/hang-before", "/hang-after"] {
        cut_off(root, at)?;
        root.install("--uninstall --yes")?.expect(0, &["✓ Removing the package"])?;
        root.install("--uninstall --purge --yes")?.expect(0, &[])?;
        root.shell("dpkg --audit; dpkg-query --show agentos")?.expect(1, &["no packages found"])?;
    }
    Ok(())
}

fn disk_fills_up(root: &Root) -> Result<()> {
    let script = "fallocate -l 120M /filler
        /mnt/install.sh --package /mnt/large.deb --no-start --yes; echo first $?
        rm /filler
        /mnt/install.sh --package /mnt/large.deb --no-start --yes; echo second $?
        dpkg --audit; stat --format=%s /usr/lib/agentos/payload";
    let said = root.shell_within(240, script)?;
    said.expect(
        0,
        &["✗ Installing AgentOS", "No space left on device", "first 1\n", "second 0\n", "157286400"],
    )
}

fn waits_for_another(root: &Root) -> Result<()> {
    let script = format!(
        "dpkg --install /mnt/another.deb > /another.log 2>&1 &
        until [ -e /reached ]; do sleep 0.1; done
        /mnt/install.sh {PLAIN}; s=$?; wait; exit $s"
    );
    root.shell(&script)?
        .expect(0, &["Waiting, at most 10 minutes", "(dpkg)", "AgentOS 0.1.0 is installed"])?;
    is_installed(root, "0.1.0")?;
    root.shell("dpkg-query --show --showformat '${db:Status-Status}' another")?.expect(0, &["installed"])
}

fn hostile_environment(root: &Root) -> Result<()> {
    let script = format!(
        "mkdir /evil; cd /evil
        for name in apt-get dpkg dpkg-deb dpkg-query id env sed awk df rm tail date head tr cmp grep agentctl agentos-setup usermod; do
            printf '#!/bin/sh\\ntouch /evil/reached-%s\\n' $name > $name; chmod 755 $name
        done
        printf 'touch /evil/reached-env\\n' > env.sh
        printf 'Dir::Bin::dpkg \"/evil/dpkg\";\\n' > apt.conf
        export PATH=/evil:. ENV=/evil/env.sh BASH_ENV=/evil/env.sh CDPATH=/evil IFS=/ APT_CONFIG=/evil/apt.conf \
            PERL5OPT=-Mevil PERL5LIB=/evil DPKG_ROOT=/evil TMPDIR=/evil GCONV_PATH=/evil LOG=/evil/log PURGED=/usr key=shown \
            NODE_OPTIONS=--require=/evil/x.js SUPPORTED=x package=/evil
        umask 000
        /mnt/install.sh {PLAIN}; s=$?
        /bin/ls /evil | /bin/grep reached; exit $s"
    );
    let said = root.shell(&script)?;
    said.expect(0, &["AgentOS 0.1.0 is installed"])?;
    said.expect_not("reached")?;
    let environment = fs::read_to_string(root.written("/postinst-environment"))?;
    for line in environment.lines() {
        ensure!(!line.contains("evil") && !line.contains("shown"), "a maintainer script got {line}");
    }
    root.shell("stat --format=%a /etc/agentos /usr/lib/agentos /var/log/agentos-install.log")?
        .expect(0, &["755\n755\n600\n"])
}

fn log_is_no_link(root: &Root) -> Result<()> {
    root.shell("echo precious > /precious; ln -s /precious /var/log/agentos-install.log")?.expect(0, &[])?;
    root.install(PLAIN)?.expect(0, &[])?;
    root.shell("cat /precious; stat --format='%F %a %U' /var/log/agentos-install.log")?
        .expect(0, &["precious\nregular file 600 root\n"])
}
