//! The OpenClaw plugin: compiled from TypeScript against the OpenClaw that is installed, tested, and laid out for the
//! gateway to load.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::command::{self, root};
use crate::progress::Step;
use crate::project;
use crate::runtime::{self, Runtime};

/// The plugin's id, which is also the name of its folder.
pub(crate) const ID: &str = "agentos-bridge";

fn source() -> PathBuf {
    root().join("packages").join(ID)
}

/// Compiles the plugin to `dist/`, unless that holds what the sources say.
///
/// # Errors
/// When the compiler cannot be installed, or finds an error.
pub(crate) fn build(runtime: &Runtime) -> Result<()> {
    let fingerprint = fingerprint()?;
    let stamp = source().join("dist/.built-from");
    if fs::read_to_string(&stamp).is_ok_and(|present| present == fingerprint) {
        return Ok(());
    }
    let step = Step::begin("compiling the OpenClaw plugin");
    compiler(runtime)?;
    match fs::remove_dir_all(source().join("dist")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    compile(runtime, "tsconfig.json")?;
    fs::write(&stamp, fingerprint)?;
    step.done();
    Ok(())
}

/// Compiles the plugin with its tests and runs them under the Node.js of the runtime.
///
/// # Errors
/// When it does not compile or a test fails.
pub(crate) fn test(runtime: &Runtime) -> Result<()> {
    compiler(runtime)?;
    let built = source().join("build-test");
    match fs::remove_dir_all(&built) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    compile(runtime, "tsconfig.test.json")?;
    command::run(
        Command::new(runtime.node()).args(["--test", "build-test/test/*.test.js"]).current_dir(source()),
    )
}

/// Copies what the gateway loads into `folder`: the package, the manifest and the compiled files, owned by whoever runs
/// this and writable by nobody else, as OpenClaw demands of a plugin.
///
/// # Errors
/// When a file cannot be copied.
pub(crate) fn lay_out(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    project::make_folder(&folder.join("dist"))?;
    for name in ["package.json", "openclaw.plugin.json"] {
        fs::copy(source().join(name), folder.join(name))
            .with_context(|| format!("cannot copy the plugin's {name}"))?;
    }
    for entry in fs::read_dir(source().join("dist"))? {
        let entry = entry?;
        if entry.path().extension().is_some_and(|extension| extension == "js") {
            fs::copy(entry.path(), folder.join("dist").join(entry.file_name()))?;
        }
    }
    Ok(())
}

/// The TypeScript compiler beside the plugin, and the installed OpenClaw where the compiler looks for its types.
fn compiler(runtime: &Runtime) -> Result<()> {
    let modules = source().join("node_modules");
    let stamp = modules.join(".installed-from");
    let lock =
        fs::read(source().join("package-lock.json")).context("cannot read the plugin's package-lock.json")?;
    let wanted = project::digest_text(&[&lock]);
    if !fs::read_to_string(&stamp).is_ok_and(|present| present == wanted) {
        runtime::npm(&source(), &["ci"])?;
        fs::write(&stamp, &wanted)?;
    }
    let link = modules.join("openclaw");
    if !fs::read_link(&link).is_ok_and(|target| target == runtime.openclaw_package()) {
        match fs::remove_file(&link) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        symlink(runtime.openclaw_package(), &link)?;
    }
    Ok(())
}

fn compile(runtime: &Runtime, project: &str) -> Result<()> {
    let output = Command::new(runtime.node())
        .args(["node_modules/typescript/bin/tsc", "--project", project])
        .current_dir(source())
        .output()
        .context("cannot start the TypeScript compiler")?;
    if !output.status.success() {
        anyhow::bail!("the plugin does not compile:\n{}", String::from_utf8_lossy(&output.stdout));
    }
    Ok(())
}

fn fingerprint() -> Result<String> {
    let mut files = vec![source().join("tsconfig.json"), source().join("package-lock.json")];
    for entry in fs::read_dir(source().join("src"))? {
        files.push(entry?.path());
    }
    files.sort();
    let contents = files
        .iter()
        .map(|path| fs::read(path).with_context(|| format!("cannot read {}", path.display())))
        .collect::<Result<Vec<_>>>()?;
    let parts: Vec<&[u8]> = files
        .iter()
        .zip(&contents)
        .flat_map(|(path, content)| [path.as_os_str().as_encoded_bytes(), content.as_slice()])
        .collect();
    Ok(project::digest_text(&parts))
}
