//! The kernel of a machine: unpacked from Debian's package, with the order of its modules, and as the plain ELF file that
//! QEMU starts at once.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};

use super::bootstrap::{Suite, Tree, lock, tree};
use super::workshop::Workshop;
use crate::command::run;

mod image;
mod modules;

use self::modules::Dependencies;

/// The largest kernel and the largest module that are unpacked.
const MAX_KERNEL_BYTES: u64 = 256 << 20;
const MAX_MODULE_BYTES: u64 = 32 << 20;

/// For which machines a kernel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flavour {
    /// Virtual ones: small.
    Virtual,
    /// Any PC.
    Any,
}

/// A kernel of Debian.
pub(super) struct Kernel {
    tree: PathBuf,
    release: String,
}

/// A module, ready to be loaded.
pub(super) struct Module {
    /// Its name, without an ending.
    pub(super) name: String,
    /// The ELF file.
    pub(super) content: Vec<u8>,
}

impl Kernel {
    /// The kernel of `suite`, got if it is not there.
    ///
    /// # Errors
    /// When it cannot be got, or is not what a Debian kernel looks like.
    pub(super) fn get(suite: &Suite, flavour: Flavour, workshop: &Workshop) -> Result<Self> {
        let (name, packages) = match flavour {
            Flavour::Virtual => ("kernel", "linux-image-cloud-amd64"),
            Flavour::Any => ("kernel-any", "linux-image-amd64"),
        };
        let tree = tree(&Tree { name, suite, variant: "extract", packages, finish: merge })?;
        let release = only_entry(&tree.join("lib/modules")).context("the kernel's package has no modules")?;
        let kernel = Self { tree, release };
        let _lock = lock()?;
        // The package's own script does it, and that was not run.
        if !kernel.modules().join("modules.dep").exists() {
            run(workshop
                .command("/usr/sbin/depmod", &[&kernel.tree])
                .arg("--basedir")
                .arg(&kernel.tree)
                .arg(&kernel.release))?;
        }
        if !kernel.vmlinux().exists() {
            let unfinished = kernel.tree.join("vmlinux.unfinished");
            fs::write(&unfinished, kernel.unpack(workshop)?)?;
            fs::rename(unfinished, kernel.vmlinux())?;
        }
        Ok(kernel)
    }

    /// Its release, as uname(1) says it.
    pub(super) fn release(&self) -> &str {
        &self.release
    }

    /// The kernel as a boot loader takes it.
    pub(super) fn vmlinuz(&self) -> PathBuf {
        self.tree.join("boot").join(format!("vmlinuz-{}", self.release))
    }

    /// The kernel as it runs, with the entry that needs no firmware (PVH): under emulation it saves the seconds of
    /// unpacking itself.
    pub(super) fn vmlinux(&self) -> PathBuf {
        self.tree.join("vmlinux")
    }

    /// The directory with all its modules.
    pub(super) fn modules(&self) -> PathBuf {
        self.tree.join("lib/modules").join(&self.release)
    }

    /// The modules `wanted` and what they need, in the order in which they can be loaded. What is built in is left out.
    ///
    /// # Errors
    /// When the kernel has no such module.
    pub(super) fn load_order(&self, wanted: &[&str], workshop: &Workshop) -> Result<Vec<Module>> {
        let list = |name: &str| {
            let path = self.modules().join(name);
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let dep = list("modules.dep")?;
        let softdep = list("modules.softdep").unwrap_or_default();
        let alias = list("modules.alias").unwrap_or_default();
        let dependencies = Dependencies::parse(&dep, &softdep, &alias, &list("modules.builtin")?);
        let order = dependencies.order(wanted)?;
        order.into_iter().map(|path| self.module(path, workshop)).collect()
    }

    fn module(&self, path: &str, workshop: &Workshop) -> Result<Module> {
        let packed = fs::read(self.modules().join(path)).with_context(|| format!("cannot read {path}"))?;
        let content = match path.rsplit_once('.') {
            Some((_, "xz")) => filter(workshop, "/usr/bin/xz", &packed, MAX_MODULE_BYTES)?,
            Some((_, "zst")) => filter(workshop, "/usr/bin/zstd", &packed, MAX_MODULE_BYTES)?,
            Some((_, "gz")) => filter(workshop, "/usr/bin/gzip", &packed, MAX_MODULE_BYTES)?,
            _ => packed,
        };
        Ok(Module { name: modules::name(path), content })
    }

    fn unpack(&self, workshop: &Workshop) -> Result<Vec<u8>> {
        let path = self.vmlinuz();
        let whole = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let payload = image::payload(&whole).with_context(|| format!("in {}", path.display()))?;
        let vmlinux = filter(workshop, payload.program, payload.packed, MAX_KERNEL_BYTES)?;
        if vmlinux.len() as u64 != u64::from(payload.unpacked_bytes) {
            bail!(
                "{} unpacks to {} bytes, and says {}",
                path.display(),
                vmlinux.len(),
                payload.unpacked_bytes
            );
        }
        image::check_elf(&vmlinux).with_context(|| format!("in {}", path.display()))?;
        Ok(vmlinux)
    }
}

/// What `program -dc` of the workshop makes of `packed`.
fn filter(workshop: &Workshop, program: &str, packed: &[u8], limit: u64) -> Result<Vec<u8>> {
    let mut child = workshop
        .command(program, &[])
        .arg("-dc")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {program}"))?;
    let mut unpacked = Vec::new();
    let mut input = child.stdin.take().context("no standard input")?;
    let output = child.stdout.take().context("no standard output")?;
    std::thread::scope(|scope| {
        // It may end before it has read everything; what it printed is checked, not what it read.
        scope.spawn(move || drop(input.write_all(packed)));
        output.take(limit + 1).read_to_end(&mut unpacked)
    })?;
    if unpacked.len() as u64 > limit {
        child.kill()?;
        child.wait()?;
        bail!("{program} unpacks more than {limit} bytes");
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("{program} -dc: {status}");
    }
    Ok(unpacked)
}

/// Makes the modules be where depmod(8) looks for them: newer packages have them below `usr`.
fn merge(tree: &Path) -> Result<()> {
    if tree.join("lib").symlink_metadata().is_err() {
        std::os::unix::fs::symlink("usr/lib", tree.join("lib"))?;
    }
    Ok(())
}

fn only_entry(directory: &Path) -> Result<String> {
    let mut entries = fs::read_dir(directory)?.collect::<Result<Vec<_>, _>>()?;
    match (entries.pop(), entries.is_empty()) {
        (Some(entry), true) => Ok(entry.file_name().to_string_lossy().into_owned()),
        _ => bail!("{} does not have one entry", directory.display()),
    }
}
