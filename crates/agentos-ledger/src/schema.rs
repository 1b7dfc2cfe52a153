//! The tables. `events` is the record; the others can be checked against it.

use rusqlite::Connection;

/// The format's number, kept in the table `ledger`.
pub(crate) const FORMAT: i64 = 1;

/// Each table's statement, as SQLite keeps it: a table that was rebuilt otherwise is noticed.
pub(crate) const TABLES: [(&str, &str); 4] = [
    (
        "events",
        "CREATE TABLE events (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  ts TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')),
  type TEXT NOT NULL, actor TEXT NOT NULL, payload TEXT NOT NULL,
  prev_hash TEXT NOT NULL, hash TEXT NOT NULL)",
    ),
    (
        "tiles",
        "CREATE TABLE tiles (
  level INTEGER NOT NULL, tile_index INTEGER NOT NULL,
  root BLOB NOT NULL, hashes BLOB NOT NULL,
  PRIMARY KEY (level, tile_index)) WITHOUT ROWID",
    ),
    (
        "checkpoints",
        "CREATE TABLE checkpoints (
  size INTEGER PRIMARY KEY,
  note TEXT NOT NULL)",
    ),
    (
        "ledger",
        "CREATE TABLE ledger (
  format INTEGER NOT NULL,
  origin TEXT NOT NULL,
  probed TEXT)",
    ),
];

/// Makes the tables of a ledger named `origin` in an empty database.
pub(crate) fn create(connection: &Connection, origin: &str) -> rusqlite::Result<()> {
    for (_, statement) in TABLES {
        connection.execute_batch(statement)?;
    }
    connection.execute("INSERT INTO ledger (format, origin) VALUES (?1, ?2)", (FORMAT, origin))?;
    Ok(())
}

/// What is different from the tables that [`create`] makes; nothing when they are the same.
pub(crate) fn difference(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let mut statement = connection.prepare(
        "SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' LIMIT 64",
    )?;
    let mut rows = statement.query([])?;
    let mut seen = [false; TABLES.len()];
    while let Some(row) = rows.next()? {
        let text =
            |column: usize| row.get_ref(column).ok().and_then(|value| value.as_str().ok()).unwrap_or("");
        let (kind, name, sql) = (text(0), text(1), text(2));
        let expected = TABLES.iter().position(|(table, _)| *table == name);
        match expected.and_then(|position| TABLES.get(position).zip(seen.get_mut(position))) {
            Some(((_, statement), seen)) if kind == "table" && sql == *statement => *seen = true,
            Some(_) => return Ok(Some(format!("the table `{name}` was rebuilt with other columns or keys"))),
            None => return Ok(Some(format!("there is a {kind} `{name}` that the ledger did not make"))),
        }
    }
    let missing = TABLES.iter().zip(seen).find(|(_, seen)| !seen);
    Ok(missing.map(|((name, _), _)| format!("the table `{name}` is not there")))
}

/// The highest id that `sqlite_sequence` says was ever given to an event.
pub(crate) fn sequence(connection: &Connection) -> rusqlite::Result<u64> {
    let sequence: i64 = connection.query_row(
        "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'events'",
        [],
        |row| row.get(0),
    )?;
    Ok(u64::try_from(sequence).unwrap_or(0))
}

/// The highest id in the table.
pub(crate) fn head(connection: &Connection) -> rusqlite::Result<u64> {
    let head: i64 = connection.query_row("SELECT coalesce(max(id), 0) FROM events", [], |row| row.get(0))?;
    Ok(u64::try_from(head).unwrap_or(0))
}
