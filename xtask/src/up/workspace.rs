//! The agent's workspace: `templates/` and `skills/` where this version of OpenClaw reads them.
//!
//! It no longer reads TOOLS.md and HEARTBEAT.md: the first goes into the `## Tools` section of AGENTS.md, the second
//! into `agents.defaults.heartbeat.prompt` (its `docs/reference/templates/`, `docs/gateway/heartbeat.md`).

use std::fs;

use anyhow::{Context, Result};

use super::places::Places;
use crate::command::root;

/// Longest file that OpenClaw shows its model whole, in characters (`agents.defaults.bootstrapMaxChars`).
const LONGEST_FILE: usize = 20_000;

/// Fills the workspace. What describes the system is brought up to date; what the person may write is left alone.
///
/// # Errors
/// When a template cannot be read, is too long, or a file cannot be written.
pub(crate) fn fill(places: &Places) -> Result<()> {
    let workspace = places.workspace();
    let agents = format!("{}\n{}", template("AGENTS.md")?.trim_end(), tools_section(&template("TOOLS.md")?));
    anyhow::ensure!(
        agents.chars().count() <= LONGEST_FILE,
        "AGENTS.md with its tools is longer than the {LONGEST_FILE} characters that OpenClaw reads"
    );
    places.write_own(&workspace.join("AGENTS.md"), agents.as_bytes(), 0o644)?;
    places.write_own(&workspace.join("SOUL.md"), template("SOUL.md")?.as_bytes(), 0o644)?;
    for personal in ["IDENTITY.md", "USER.md"] {
        let path = workspace.join(personal);
        if fs::symlink_metadata(&path).is_err() {
            places.write_own(&path, template(personal)?.as_bytes(), 0o644)?;
        }
    }
    skills(places)
}

/// The text that a heartbeat asks, if heartbeats are on.
///
/// # Errors
/// When the template cannot be read.
pub(crate) fn heartbeat() -> Result<String> {
    template("HEARTBEAT.md")
}

fn template(name: &str) -> Result<String> {
    fs::read_to_string(root().join("templates").join(name))
        .with_context(|| format!("cannot read templates/{name}"))
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

fn skills(places: &Places) -> Result<()> {
    let target = places.workspace().join("skills");
    places.make_folder_of_gateway(&target)?;
    for entry in fs::read_dir(root().join("skills"))? {
        let entry = entry?;
        let skill = entry.path().join("SKILL.md");
        if !skill.is_file() {
            continue;
        }
        let folder = target.join(entry.file_name());
        places.make_folder_of_gateway(&folder)?;
        places.write_own(&folder.join("SKILL.md"), &fs::read(&skill)?, 0o644)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tools_become_a_section_of_the_instructions() {
        let section = tools_section("# Tools\n\nUse them.\n\n## Queries\n<!-- mark -->\n| a |\n");
        assert_eq!(section, "\n## Tools\n\nUse them.\n\n### Queries\n| a |\n");
    }

    #[test]
    fn each_template_is_there_and_fits() {
        for name in ["AGENTS.md", "SOUL.md", "TOOLS.md", "IDENTITY.md", "USER.md", "HEARTBEAT.md"] {
            let text = template(name).unwrap();
            assert!(text.chars().count() < LONGEST_FILE, "{name}");
            assert!(text.starts_with("# "), "{name} has no title");
        }
    }
}
