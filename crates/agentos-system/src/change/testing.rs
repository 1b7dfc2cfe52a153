//! A machine for tests: changes are planned, made and taken back as agentd does it.

use std::path::PathBuf;

use agentos_api::change::{Effect, Step};
use agentos_objects::{Objects, Options};
use serde_json::Value;
use tempfile::TempDir;

use super::{ChangeError, Context, Made, Prepared, Progress, Script, Undone};
use crate::machine::{Machine, MachineOptions, Viewer};

/// A machine whose own files are in a temporary folder.
pub(crate) struct Bench {
    pub(crate) folder: TempDir,
    pub(crate) machine: Machine,
    objects: Objects,
    number: std::cell::Cell<u64>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        // The folder's own path has no links in it.
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap().join("root");
        std::fs::create_dir(&root).unwrap();
        let objects = Objects::open(&Options::new(folder.path().join("objects"))).unwrap();
        let machine = Machine::new(MachineOptions { root, ..MachineOptions::default() });
        Self { folder, machine, objects, number: std::cell::Cell::new(0) }
    }

    /// The path of one of the machine's own files.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join("root").join(path.trim_start_matches('/'))
    }

    pub(crate) fn write(&self, path: &str, content: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    pub(crate) fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.path(path)).unwrap()
    }

    pub(crate) fn context(&self) -> Context<'_> {
        Context { machine: &self.machine, objects: &self.objects, making: None }
    }

    fn plan_as(&self, operator: bool, steps: &[(&str, Value)]) -> Result<Prepared, ChangeError> {
        let steps: Vec<Step> = steps
            .iter()
            .map(|(name, args)| Step {
                mutation: (*name).to_owned(),
                args: args.as_object().unwrap().clone(),
            })
            .collect();
        for step in &steps {
            self.machine.check_mutation(step)?;
        }
        let viewer = Viewer { operator, ..Viewer::default() };
        let (prepared, batch) = self.machine.plan(&steps, &viewer, self.objects.batch())?;
        self.number.set(self.number.get() + 1);
        batch.commit(self.number.get()).unwrap();
        // What is carried out is what was kept of it.
        let kept = serde_json::to_vec(&prepared.script).unwrap();
        assert_eq!(serde_json::from_slice::<Script>(&kept).unwrap(), prepared.script);
        Ok(prepared)
    }

    /// What the agent's change would be.
    pub(crate) fn plan(&self, mutation: &str, args: Value) -> Result<Prepared, ChangeError> {
        self.plan_as(false, &[(mutation, args)])
    }

    pub(crate) fn plan_steps(&self, steps: &[(&str, Value)]) -> Result<Prepared, ChangeError> {
        self.plan_as(false, steps)
    }

    /// What the operator's change would be.
    pub(crate) fn plan_as_operator(&self, mutation: &str, args: Value) -> Result<Prepared, ChangeError> {
        self.plan_as(true, &[(mutation, args)])
    }

    /// Makes it, and holds its progress against what happened. A script outlives agentd, so it is read back before.
    pub(crate) fn make(&self, prepared: &Prepared) {
        let text = serde_json::to_string(&prepared.script).unwrap();
        let script: super::Script = serde_json::from_str(&text).unwrap();
        assert_eq!(script, prepared.script);
        script.check(&self.context()).unwrap();
        if !script.is_empty() {
            assert_eq!(script.progress(&self.context()).unwrap(), Progress::Nothing);
        }
        match script.make(&self.context(), |_| {}) {
            Made::All => {}
            other => panic!("{other:?}"),
        }
        if !script.is_empty() {
            assert_eq!(script.progress(&self.context()).unwrap(), Progress::All);
        }
    }

    /// Plans and makes the agent's change.
    pub(crate) fn change(&self, mutation: &str, args: Value) -> Prepared {
        let prepared = self.plan(mutation, args).unwrap();
        self.make(&prepared);
        prepared
    }

    /// Plans how a change is taken back.
    pub(crate) fn plan_undo(&self, prepared: &Prepared) -> Result<Prepared, ChangeError> {
        let viewer = Viewer::default();
        let batch = self.objects.batch();
        let (undo, batch) =
            self.machine.plan_undo(&Undone::new(&prepared.script, &prepared.plan.summary), &viewer, batch)?;
        self.number.set(self.number.get() + 1);
        batch.commit(self.number.get()).unwrap();
        Ok(undo)
    }

    /// Takes a change back.
    pub(crate) fn undo(&self, prepared: &Prepared) {
        let undo = self.plan_undo(prepared).unwrap();
        match undo.script.make(&self.context(), |_| {}) {
            Made::All => {}
            other => panic!("{other:?}"),
        }
    }

    /// Makes the first transitions of a change only, as if the power had been cut, and takes back what that was.
    pub(crate) fn cut_and_recover(&self, prepared: &Prepared) {
        for count in 0..=prepared.script.len() {
            let cut =
                super::Script { steps: vec![prepared.script.transitions().take(count).cloned().collect()] };
            assert!(matches!(cut.make(&self.context(), |_| {}), Made::All));
            let done = match prepared.script.progress(&self.context()).unwrap() {
                Progress::Nothing => 0,
                Progress::Part(done) => done,
                Progress::All => prepared.script.len(),
                other => panic!("after {count}: {other:?}"),
            };
            assert_eq!(done, count);
            assert_eq!(prepared.script.take_back(done, &self.context()), Vec::<String>::new());
        }
    }
}

/// All that a plan shows, as text.
pub(crate) fn text_of(prepared: &Prepared) -> String {
    serde_json::to_string(&prepared.plan).unwrap()
}

/// The effects of a plan.
pub(crate) fn effects(prepared: &Prepared) -> Vec<Effect> {
    prepared.plan.steps.iter().flat_map(|step| step.effects.clone()).collect()
}

/// Runs this test again in a network and mount namespace of its own, and gives whether it is that run. It is passed over
/// where this is not root, or a program that it needs is not installed.
pub(crate) fn in_namespace(test: &str, program: Option<&str>) -> bool {
    if std::env::var_os("AGENTOS_TEST_NAMESPACE").is_some() {
        return true;
    }
    let missing = program.is_some_and(|name| crate::run::Program::find(name).is_none());
    if missing || !rustix::process::geteuid().is_root() {
        return false;
    }
    let output = std::process::Command::new("unshare")
        .args(["--net", "--mount"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", test])
        .env("AGENTOS_TEST_NAMESPACE", "1")
        .output()
        .unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    false
}
