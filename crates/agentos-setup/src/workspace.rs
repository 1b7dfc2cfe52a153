//! The agent's workspace: `templates/` and `skills/` where this version of OpenClaw reads them.
//!
//! It no longer reads TOOLS.md and HEARTBEAT.md: the first goes into the `## Tools` section of AGENTS.md, the second
//! into `agents.defaults.heartbeat.prompt` (its `docs/reference/templates/`, `docs/gateway/heartbeat.md`).
//!
//! Where root fills it for another user, what describes the system belongs to root in a folder of root's with the sticky
//! bit: the gateway can add files and cannot replace these.

use std::fs;
use std::path::PathBuf;

use crate::error::SetupError;
use crate::folder::{Folder, Owner};

/// Longest file that OpenClaw shows its model whole, in characters (`agents.defaults.bootstrapMaxChars`).
const LONGEST_FILE: usize = 20_000;

/// The name of the folder.
pub const NAME: &str = "workspace";

/// Where the texts are.
#[derive(Clone, Debug)]
pub struct Texts {
    /// The folder of the templates.
    pub templates: PathBuf,
    /// The folder of the skills.
    pub skills: PathBuf,
}

impl Texts {
    /// The text that a heartbeat asks, if heartbeats are on.
    ///
    /// # Errors
    /// When the template cannot be read.
    pub fn heartbeat(&self) -> Result<String, SetupError> {
        self.template("HEARTBEAT.md")
    }

    fn template(&self, name: &str) -> Result<String, SetupError> {
        let path = self.templates.join(name);
        fs::read_to_string(&path).map_err(SetupError::io("read", &path))
    }

    /// Each skill's name and text.
    fn skills(&self) -> Result<Vec<(String, Vec<u8>)>, SetupError> {
        let mut skills = Vec::new();
        let listed = fs::read_dir(&self.skills).map_err(SetupError::io("list", &self.skills))?;
        for entry in listed {
            let entry = entry.map_err(SetupError::io("list", &self.skills))?;
            let path = entry.path().join("SKILL.md");
            if path.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                skills.push((name, fs::read(&path).map_err(SetupError::io("read", &path))?));
            }
        }
        skills.sort();
        Ok(skills)
    }

    fn instructions(&self) -> Result<String, SetupError> {
        let agents = self.template("AGENTS.md")?;
        let whole = format!("{}\n{}", agents.trim_end(), tools_section(&self.template("TOOLS.md")?));
        if whole.chars().count() > LONGEST_FILE {
            let message =
                format!("with its tools it is longer than the {LONGEST_FILE} characters that OpenClaw reads");
            return Err(SetupError::File { path: self.templates.join("AGENTS.md"), message });
        }
        Ok(whole)
    }
}

/// Fills the workspace in `parent`. What describes the system is brought up to date; what the person may write is left
/// alone. `gateway` is the user it is for; none: whoever runs this. Answers whether anything changed.
///
/// # Errors
/// When a template cannot be read, is too long, or a file cannot be written.
pub fn fill(parent: &Folder, texts: &Texts, gateway: Option<Owner>) -> Result<bool, SetupError> {
    let caller = Owner::caller();
    // Of another user's workspace the group is the gateway's, so that it can read what root has written.
    let keeper = Owner { gid: gateway.map_or(caller.gid, |gateway| gateway.gid), ..caller };
    let folder = parent.make_folder(NAME, keeper, if gateway.is_some() { 0o1770 } else { 0o700 })?;
    let mut changed = folder.write("AGENTS.md", texts.instructions()?.as_bytes(), keeper, 0o640)?;
    changed |= folder.write("SOUL.md", texts.template("SOUL.md")?.as_bytes(), keeper, 0o640)?;
    for personal in ["IDENTITY.md", "USER.md"] {
        if !folder.holds(personal) {
            let owner = gateway.unwrap_or(caller);
            changed |= folder.write(personal, texts.template(personal)?.as_bytes(), owner, 0o640)?;
        }
    }
    let skills = folder.make_folder("skills", keeper, 0o750)?;
    for (name, text) in texts.skills()? {
        changed |= skills.make_folder(&name, keeper, 0o750)?.write("SKILL.md", &text, keeper, 0o640)?;
    }
    Ok(changed)
}

/// TOOLS.md as a section: its title becomes `## Tools`, and what is below goes one level down with it.
fn tools_section(text: &str) -> String {
    let mut section = String::from("\n## Tools\n");
    for line in text.lines().skip_while(|line| !line.starts_with("# ")).skip(1) {
        if line.starts_with("<!--") {
            continue;
        }
        if line.starts_with("##") {
            section.push('#');
        }
        section.push_str(line);
        section.push('\n');
    }
    section
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::path::Path;

    use super::*;

    fn texts() -> Texts {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        Texts { templates: root.join("templates"), skills: root.join("skills") }
    }

    #[test]
    fn the_tools_become_a_section_of_the_instructions() {
        let section = tools_section("# Tools\n\nUse them.\n\n## Queries\n<!-- mark -->\n| a |\n");
        assert_eq!(section, "\n## Tools\n\nUse them.\n\n### Queries\n| a |\n");
    }

    #[test]
    fn each_template_is_there_and_fits() {
        for name in ["AGENTS.md", "SOUL.md", "TOOLS.md", "IDENTITY.md", "USER.md", "HEARTBEAT.md"] {
            let text = texts().template(name).unwrap();
            assert!(text.chars().count() < LONGEST_FILE, "{name}");
            assert!(text.starts_with("# "), "{name} has no title");
        }
        texts().instructions().unwrap();
    }

    #[test]
    fn what_the_person_wrote_stays_and_what_describes_the_system_comes_back() {
        let place = tempfile::tempdir().unwrap();
        let parent = Folder::open(place.path()).unwrap();
        assert!(fill(&parent, &texts(), None).unwrap());
        assert!(!fill(&parent, &texts(), None).unwrap());
        let file = |name: &str| place.path().join(NAME).join(name);
        fs::write(file("USER.md"), "mine").unwrap();
        fs::write(file("SOUL.md"), "changed").unwrap();
        assert!(fill(&parent, &texts(), None).unwrap());
        assert_eq!(fs::read_to_string(file("USER.md")).unwrap(), "mine");
        assert_ne!(fs::read_to_string(file("SOUL.md")).unwrap(), "changed");
        assert!(file("skills/system-monitor/SKILL.md").is_file());
    }

    #[test]
    fn links_that_the_gateway_put_there_lead_root_nowhere() {
        let outside = tempfile::tempdir().unwrap();
        let precious = outside.path().join("precious");
        fs::write(&precious, "precious").unwrap();
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join(NAME);
        fs::create_dir(&folder).unwrap();
        for name in ["AGENTS.md", ".AGENTS.md.next", "USER.md"] {
            symlink(&precious, folder.join(name)).unwrap();
        }
        symlink(outside.path(), folder.join("skills")).unwrap();
        let parent = Folder::open(place.path()).unwrap();
        let gateway = rustix::process::geteuid().is_root().then_some(Owner { uid: 60_999, gid: 60_999 });
        let error = fill(&parent, &texts(), gateway).unwrap_err().to_string();
        assert!(error.contains("skills is not a folder"), "{error}");
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
        assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
        assert_eq!(fs::metadata(&precious).unwrap().permissions().mode() & 0o777, 0o644);
        assert!(fs::symlink_metadata(folder.join("AGENTS.md")).unwrap().is_file());
        // The same with a link in place of the workspace itself.
        fs::remove_dir_all(&folder).unwrap();
        symlink(outside.path(), &folder).unwrap();
        assert!(fill(&parent, &texts(), gateway).is_err());
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    }
}
