//! What is found, and what the next start knows.

use std::fs;

use super::*;

fn key(stream: &str) -> StreamKey {
    StreamKey { vhost: "v".into(), app: "live".into(), stream: stream.into() }
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("oxcast-catalogue-{}-{name}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn begin(catalogue: &Catalogue, folder: &Path, stream: &str, secs: i64) -> Arc<Recording> {
    let file = folder.join(format!("{stream}-{secs}.mp4.tmp"));
    fs::write(&file, "").unwrap();
    catalogue.begin(&key(stream), folder, &file, true, Micros::from_secs(secs))
}

fn complete(catalogue: &Catalogue, recording: &Recording, secs: i64) {
    let draft = recording.file();
    let file = draft.with_extension("");
    fs::rename(draft, &file).unwrap();
    catalogue.complete(recording, &file, Micros::from_secs(secs), 7);
}

fn begins(list: &[Arc<Recording>]) -> Vec<i64> {
    list.iter().map(|recording| recording.begin.millis() / 1000).collect()
}

#[test]
fn recordings_are_found_by_stream_and_time() {
    let (catalogue, folder) = (Catalogue::default(), folder("find"));
    for secs in [200, 100, 300] {
        complete(&catalogue, &begin(&catalogue, &folder, "a", secs), 60);
    }
    complete(&catalogue, &begin(&catalogue, &folder, "b", 150), 60);
    let secs = |from: i64, to: i64| (Some(Micros::from_secs(from)), Some(Micros::from_secs(to)));
    let list =
        |stream, (from, to)| begins(&catalogue.list(&Wanted { stream, from, to, ..Wanted::default() }));
    assert_eq!(list("", (None, None)), [100, 150, 200, 300]);
    assert_eq!(list("a", (None, None)), [100, 200, 300]);
    assert_eq!(list("a", secs(160, 300)), [200]);
    assert_eq!(list("a", secs(159, 301)), [100, 200, 300]);
    assert_eq!(list("a", secs(400, 500)), [0; 0]);
    assert_eq!(begins(&catalogue.of(&key("a"), Micros::from_secs(250), None)), [200, 300]);
    let one = catalogue.of(&key("b"), Micros::ZERO, None).remove(0);
    assert!(catalogue.find(&key("b"), &one.id).is_some() && catalogue.find(&key("a"), &one.id).is_none());
    fs::remove_file(one.file()).unwrap();
    assert!(!catalogue.is_there(&one) && list("b", (None, None)).is_empty());
}

#[test]
fn the_next_start_knows_them_and_learns_what_becomes_of_those_of_another_process() {
    let (before, folder) = (Catalogue::default(), folder("next"));
    complete(&before, &begin(&before, &folder, "a", 100), 60);
    let gone = begin(&before, &folder, "a", 150);
    complete(&before, &gone, 10);
    fs::remove_file(gone.file()).unwrap();
    before.discard(&begin(&before, &folder, "a", 160));
    let growing = begin(&before, &folder, "a", 200);
    let now = Catalogue::default();
    now.load(std::slice::from_ref(&folder));
    now.load(std::slice::from_ref(&folder));
    let list = now.list(&Wanted::default());
    assert_eq!(begins(&list), [100, 200]);
    assert!(list[0].is_complete() && list[0].length() == Micros::from_secs(60) && list[0].bytes() == 7);
    assert!(!list[1].is_complete() && now.has_foreign());
    // Nobody knows yet how long it is.
    assert_eq!(begins(&now.of(&key("a"), Micros::from_secs(9000), None)), [200]);
    complete(&before, &growing, 30);
    now.load(&[folder]);
    assert!(list[1].is_complete() && !now.has_foreign() && list[1].end() == Micros::from_secs(230));
    assert_eq!(list[1].file(), growing.file());
}

#[test]
fn what_was_left_behind_is_completed() {
    let (before, folder) = (Catalogue::default(), folder("left"));
    let (whole, empty) = (begin(&before, &folder, "a", 100), begin(&before, &folder, "a", 200));
    let now = Catalogue::default();
    now.load(std::slice::from_ref(&folder));
    let file = whole.file().with_extension("");
    fs::rename(whole.file(), &file).unwrap();
    now.recovered(&whole.file(), Some((&file, Micros::from_secs(9))));
    now.recovered(&empty.file(), None);
    now.recovered(Path::new("unknown"), None);
    let list = now.list(&Wanted::default());
    assert!(list.len() == 1 && list[0].is_complete() && list[0].file() == file);
    assert_eq!(list[0].length(), Micros::from_secs(9));
}
