//! `shell.apply`: a command that acts on the machine itself.

use agentos_api::change::Risk;
use agentos_api::mutation::shell::{Apply, ApplyArgs};

use crate::change::Plan;
use crate::change::command::ShellRun;
use crate::change::error::ChangeError;
use crate::change::planner::Planner;
use crate::change::transition::Transition;
use crate::shell::words;

impl Plan for Apply {
    fn check(args: &ApplyArgs) -> Result<(), ChangeError> {
        Ok(words(args.line()).map(|_| ())?)
    }

    fn plan(planner: &mut Planner<'_>, args: ApplyArgs) -> Result<(), ChangeError> {
        let words = words(args.line())?;
        let folder = args.folder.as_ref().map_or_else(|| "/".to_owned(), ToString::to_string);
        let before = planner.planned().iter().filter(|it| matches!(it, Transition::Shell(_))).count();
        let number = u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1);
        let run = ShellRun::new(number, words, folder, args.time_limit_seconds.get());
        planner.risk(Risk::Destructive);
        planner.summary(format!(
            "Runs as root in {}, for {} s at most: {}",
            run.folder,
            run.seconds,
            run.shown()
        ));
        planner.not_covered(
            "what the command does is not foreseen: this plan shows its words and nothing else, and programs that it runs may do anything that root can",
        );
        for script in &run.scripts {
            planner.not_covered(format!(
                "{} is executed: it is part of what is agreed to as it is now, and is to be read",
                script.path.display()
            ));
        }
        planner.not_covered(
            "what it writes may be run by others as root later (units, cron, a login): then nothing keeps that from agentd",
        );
        planner.not_covered("whatever it leaves running is ended with it: services belong to systemd");
        planner.add(Transition::Shell(run))
    }
}
