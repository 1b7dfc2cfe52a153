//! What dpkg is told about the package: its description, what it needs, its scripts, the digests of its files (deb-control(5)).

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::tree::Tree;
use super::{PROGRAMS, write};
use crate::command::{self, root};

const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];

/// Writes the package's `DEBIAN` folder.
pub(super) fn write_all(tree: &Tree, version: &str, architecture: &str) -> Result<()> {
    let source = root().join("packaging/debian");
    let read = |name: &str| {
        fs::read_to_string(source.join(name)).with_context(|| format!("cannot read packaging/debian/{name}"))
    };
    let mut size = 0;
    for file in tree.files()? {
        size += fs::metadata(&file)?.len();
    }
    let control = read("control.in")?
        .replace("@VERSION@", version)
        .replace("@ARCHITECTURE@", architecture)
        .replace("@INSTALLED_SIZE@", &size.div_ceil(1024).to_string())
        .replace("@HOMEPAGE@", env!("CARGO_PKG_REPOSITORY"))
        .replace("@LIBRARIES@", &libraries(tree)?);
    ensure!(!control.contains(": @"), "a field is not filled in:\n{control}");
    write(&tree.path("DEBIAN/control"), control.as_bytes())?;
    write(&tree.path("DEBIAN/conffiles"), read("conffiles")?.as_bytes())?;
    for name in SCRIPTS {
        let path = tree.path("DEBIAN").join(name);
        write(&path, read(name)?.as_bytes())?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    }
    digests(tree)
}

/// The shared libraries that the programs need, as packages: the oldest C library that has all they use of it.
fn libraries(tree: &Tree) -> Result<String> {
    let mut newest = (2, 0);
    let mut unwinder = false;
    for (_, program) in PROGRAMS {
        let listed = command::output(Command::new("objdump").args(["-T", "-p"]).arg(tree.path(program)))
            .context("objdump says what a program needs; it comes with the C compiler (binutils)")?;
        newest = newest.max(newest_glibc(&listed));
        for needed in listed.lines().filter_map(|line| line.trim().strip_prefix("NEEDED")) {
            match needed.trim() {
                "libgcc_s.so.1" => unwinder = true,
                library => ensure!(
                    ["libc.so.6", "libm.so.6", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"]
                        .contains(&library),
                    "{program} needs {library}, and nothing says which package has it"
                ),
            }
        }
    }
    let (major, minor) = newest;
    let unwinder = if unwinder { ", libgcc-s1" } else { "" };
    Ok(format!("libc6 (>= {major}.{minor}){unwinder}"))
}

/// The newest version of the C library's symbols that objdump lists.
fn newest_glibc(listed: &str) -> (u32, u32) {
    listed
        .split("GLIBC_")
        .skip(1)
        .filter_map(|rest| {
            let (major, rest) = rest.split_once('.')?;
            let minor: String = rest.chars().take_while(char::is_ascii_digit).collect();
            Some((major.parse().ok()?, minor.parse().ok()?))
        })
        .max()
        .unwrap_or((2, 0))
}

/// The digests that `dpkg --verify` compares the installed files with.
fn digests(tree: &Tree) -> Result<()> {
    let mut command = Command::new("md5sum");
    command.current_dir(tree.root());
    for file in tree.files()? {
        let inside = file.strip_prefix(tree.root())?;
        if !inside.starts_with("etc") {
            command.arg(inside);
        }
    }
    let text = command::output(&mut command)?;
    write(&tree.path("DEBIAN/md5sums"), text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_symbol_decides() {
        let listed = "0 DF *UND* 0 (GLIBC_2.9) a\n0 DF *UND* 0 (GLIBC_2.34) b\n 0x0 0x00 02 GLIBC_2.2.5\n";
        assert_eq!(newest_glibc(listed), (2, 34));
        assert_eq!(newest_glibc(""), (2, 0));
    }
}
