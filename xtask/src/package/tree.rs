//! The files of the package, laid out as they will lie on the machine.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{PROGRAMS, notices, write};
use crate::command::{self, find, root};
use crate::plugin;

/// Folders that are taken as they are: where they are in the checkout, and where they go.
const FOLDERS: [(&str, &str); 8] = [
    ("packaging/etc", "etc/agentos"),
    ("packaging/nftables", "usr/share/agentos"),
    ("packaging/systemd", "usr/lib/systemd/system"),
    ("packaging/sysusers.d", "usr/lib/sysusers.d"),
    ("packaging/tmpfiles.d", "usr/lib/tmpfiles.d"),
    ("templates", "usr/share/agentos/templates"),
    ("skills", "usr/share/agentos/skills"),
    ("packaging/policies", "usr/share/agentos/policies"),
];

/// What goes to the documentation, and what it is called there.
const DOCUMENTS: [(&str, &str); 3] =
    [("packaging/debian/copyright", "copyright"), ("README.md", "README.md"), ("SECURITY.md", "SECURITY.md")];

/// Files of the runtime's description: the lock file has a hash for each package.
const RUNTIME: [&str; 3] = ["package.json", "package-lock.json", ".npmrc"];

/// A laid-out package.
pub(super) struct Tree {
    root: PathBuf,
}

impl Tree {
    /// Lays out everything in `folder`, which is made anew; `programs` holds the built programs.
    pub(super) fn lay_out(folder: &Path, programs: &Path, version: &str) -> Result<Self> {
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot empty {}", folder.display()));
            }
            _ => {}
        }
        let tree = Self { root: folder.to_owned() };
        for (program, to) in PROGRAMS {
            tree.put(&programs.join(program), to)?;
            // Nobody reads symbols on the machine that it is installed on; a panic says its place without them.
            command::run(Command::new("strip").arg("--strip-unneeded").arg(tree.path(to)))
                .context("strip comes with the C compiler (binutils)")?;
        }
        for (from, to) in FOLDERS {
            tree.put_folder(&root().join(from), to)?;
        }
        plugin::lay_out(&tree.path("usr/share/agentos/plugins").join(plugin::ID))?;
        tree.runtime()?;
        tree.documents(version)?;
        tree.manual_pages(programs)?;
        tree.completions(programs)?;
        tree.modes()?;
        Ok(tree)
    }

    /// The folder that stands for `/`.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// A path of the package.
    pub(super) fn path(&self, inside: &str) -> PathBuf {
        self.root.join(inside)
    }

    /// Its files without those of the package's own description, by path.
    pub(super) fn files(&self) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        let mut folders = vec![self.root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder)? {
                let path = entry?.path();
                if path.is_dir() {
                    if path != self.path("DEBIAN") {
                        folders.push(path);
                    }
                } else {
                    files.push(path);
                }
            }
        }
        files.sort();
        Ok(files)
    }

    fn put(&self, from: &Path, to: &str) -> Result<()> {
        write(&self.path(to), &fs::read(from).with_context(|| format!("cannot read {}", from.display()))?)
    }

    fn put_folder(&self, from: &Path, to: &str) -> Result<()> {
        for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_str().with_context(|| format!("{} is not UTF-8", entry.path().display()))?;
            let to = format!("{to}/{name}");
            if entry.path().is_dir() {
                self.put_folder(&entry.path(), &to)?;
            } else {
                self.put(&entry.path(), &to)?;
            }
        }
        Ok(())
    }

    /// The pinned runtime, and the registry that this machine's npm uses: no other place says where packages are.
    fn runtime(&self) -> Result<()> {
        for name in RUNTIME {
            self.put(
                &root().join("packages/runtime").join(name),
                &format!("usr/share/agentos/runtime/{name}"),
            )?;
        }
        let npm = find("npm").context("npm is not installed; it says which registry the package names")?;
        let registry = command::output(Command::new(npm).args(["config", "get", "registry"]))?;
        ensure!(registry.starts_with("https://"), "npm's registry is not reached by https: {registry}");
        let path = self.path("usr/share/agentos/runtime/.npmrc");
        let settings = fs::read_to_string(&path)?;
        write(&path, format!("{settings}registry={}\n", registry.trim()).as_bytes())
    }

    fn documents(&self, version: &str) -> Result<()> {
        for (from, name) in DOCUMENTS {
            self.put(&root().join(from), &format!("usr/share/doc/agentos/{name}"))?;
        }
        let changes = format!(
            "agentos ({version}) unstable; urgency=medium\n\n  * See CHANGELOG.md in the source.\n\n \
             -- The AgentOS contributors <maintainers@agentos.example>  Thu, 01 Jan 2026 00:00:00 +0000\n"
        );
        self.zipped("usr/share/doc/agentos/changelog", changes.as_bytes())?;
        self.zipped("usr/share/doc/agentos/THIRD-PARTY", notices::text()?.as_bytes())
    }

    fn manual_pages(&self, programs: &Path) -> Result<()> {
        let made = self.root.with_extension("man");
        for program in ["agentctl", "agentos-setup"] {
            command::output(Command::new(programs.join(program)).arg("man").arg(&made))?;
        }
        fs::copy(root().join("packaging/man/agentd.8"), made.join("agentd.8"))?;
        for entry in fs::read_dir(&made)? {
            let path = entry?.path();
            let section = path.extension().and_then(|extension| extension.to_str()).unwrap_or("1");
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            self.zipped(&format!("usr/share/man/man{section}/{name}"), &fs::read(&path)?)?;
        }
        Ok(fs::remove_dir_all(&made)?)
    }

    fn completions(&self, programs: &Path) -> Result<()> {
        for program in ["agentctl", "agentos-setup"] {
            for (shell, to) in [
                ("bash", format!("usr/share/bash-completion/completions/{program}")),
                ("zsh", format!("usr/share/zsh/vendor-completions/_{program}")),
                ("fish", format!("usr/share/fish/vendor_completions.d/{program}.fish")),
            ] {
                let script =
                    command::output(Command::new(programs.join(program)).args(["completions", shell]))?;
                write(&self.path(&to), script.as_bytes())?;
            }
        }
        Ok(())
    }

    /// A file as Debian wants documentation: compressed, without a time of its own.
    fn zipped(&self, to: &str, content: &[u8]) -> Result<()> {
        let plain = self.path(to);
        write(&plain, content)?;
        command::run(Command::new("gzip").args(["-9", "--no-name", "--force"]).arg(&plain))
    }

    /// Programs can be run by everybody, files read by everybody; the checkout's own modes do not count.
    fn modes(&self) -> Result<()> {
        for path in self.files()? {
            let program = PROGRAMS.iter().any(|(_, to)| path == self.path(to));
            let mode = if program { 0o755 } else { 0o644 };
            fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
            for folder in path.ancestors().skip(1).take_while(|folder| folder.starts_with(&self.root)) {
                fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
            }
        }
        Ok(())
    }
}
