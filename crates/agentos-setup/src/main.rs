//! x
use agentos_setup::*;
use std::path::*;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let pinned = runtime::Pinned::read(Path::new(&a[1])).unwrap();
    let registry = a.get(4).map(|r| Registry::parse(r).unwrap());
    let d = PathBuf::from(&a[3]);
    let o = runtime::Options {
        registry: registry.as_ref(),
        curl: Path::new("/usr/bin/curl"),
        downloads: &d,
        expected: None,
    };
    let t = std::time::Instant::now();
    let r = pinned.install(Path::new(&a[2]), &o, &mut |e: Event<'_>| eprintln!("{:?} {e:?}", t.elapsed()));
    eprintln!("{:?} {r:?}", t.elapsed());
}
