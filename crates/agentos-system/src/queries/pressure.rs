//! Pressure stall information (the kernel's Documentation/accounting/psi.rst), of the machine or of one control group.

use agentos_api::query::Pressure;
use agentos_api::query::pressure::{Args, Output, Resource, Share};
use rustix::fd::AsFd;
use rustix::fs::CWD;

use crate::QueryError;
use crate::dispatch::Read;
use crate::machine::{Machine, Viewer};
use crate::procfs::decimal;
use crate::procfs::read_at;
use crate::procfs::ticks::{as_f64, round};
use crate::queries::cgroups::Hierarchy;

impl Read for Pressure {
    fn read(_machine: &Machine, _viewer: Viewer, args: Args) -> Result<Output, QueryError> {
        let output = match &args.cgroup {
            Some(path) => {
                let group = Hierarchy::find()?.open(path, "cgroup")?;
                let resource = |name: &str| resource(&group, &format!("{name}.pressure"));
                Output {
                    cpu: resource("cpu"),
                    memory: resource("memory"),
                    io: resource("io"),
                    irq: resource("irq"),
                }
            }
            None => Output {
                cpu: resource(CWD, "/proc/pressure/cpu"),
                memory: resource(CWD, "/proc/pressure/memory"),
                io: resource(CWD, "/proc/pressure/io"),
                irq: resource(CWD, "/proc/pressure/irq"),
            },
        };
        if output.cpu.is_none() && output.memory.is_none() && output.io.is_none() {
            return Err(QueryError::unavailable(
                "pressure_unavailable",
                "this kernel keeps no pressure stall information",
                "boot with psi=1, on a kernel built with CONFIG_PSI",
            ));
        }
        Ok(output)
    }
}

/// The pressure in one file; `None` where there is no such file, or reading it is refused as for a switched-off one.
pub(crate) fn resource(at: impl AsFd, path: &str) -> Option<Resource> {
    parse(&read_at(at, path, 1024).ok()?)
}

fn parse(content: &[u8]) -> Option<Resource> {
    let share = |kind: &[u8]| {
        content.split(|&byte| byte == b'\n').find_map(|line| {
            let values = line.strip_prefix(kind)?.strip_prefix(b" ")?;
            let value = |key: &[u8]| {
                values.split(|&byte| byte == b' ').find_map(|pair| pair.strip_prefix(key)?.strip_prefix(b"="))
            };
            let average = |key: &[u8]| {
                std::str::from_utf8(value(key)?).ok()?.parse().ok().filter(|share: &f64| share.is_finite())
            };
            Some(Share {
                average_10_seconds_percent: average(b"avg10")?,
                average_60_seconds_percent: average(b"avg60")?,
                average_300_seconds_percent: average(b"avg300")?,
                total_seconds: round(as_f64(decimal(value(b"total")?)?) / 1e6, 3),
            })
        })
    };
    let resource = Resource { some: share(b"some"), full: share(b"full") };
    (resource.some.is_some() || resource.full.is_some()).then_some(resource)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_lines_are_read() {
        let resource = parse(
            b"some avg10=86.49 avg60=58.58 avg300=29.97 total=246835415\nfull avg10=0.50 avg60=0.00 avg300=0.00 total=0\n",
        )
        .unwrap();
        let some = resource.some.unwrap();
        assert!((some.average_10_seconds_percent - 86.49).abs() < 1e-9);
        assert!((some.total_seconds - 246.835).abs() < 1e-9);
        assert!((resource.full.unwrap().average_10_seconds_percent - 0.5).abs() < 1e-9);
    }

    #[test]
    fn the_machine_answers_or_says_why_not() {
        let machine = Machine::new(crate::MachineOptions::default());
        match machine.query("pressure", b"", Viewer::default()) {
            Ok(answer) => assert!(serde_json::from_slice::<Output>(&answer).unwrap().cpu.is_some()),
            Err(QueryError::Unavailable { code, .. }) => {
                assert_eq!(code, "pressure_unavailable");
                assert!(!std::path::Path::new("/proc/pressure/cpu").exists());
            }
            Err(other) => panic!("{other}"),
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(content: Vec<u8>, text in "(some|full) (avg10|avg60|avg300|total)=[0-9.naif-]{0,20} .{0,40}") {
            let _ = (parse(&content), parse(text.as_bytes()));
        }
    }
}
