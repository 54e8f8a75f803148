//! Makes, lists and revokes the tokens of those who may call.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use comfy_table::{Table, presets};
use rustix::fs::{Gid, Uid, fchown};
use serde_json::{Value, json};
use tempfile::Builder;

use super::path::{folder, follow_links, sync_name};
use crate::access::{Listed, Scope, Token, TokenId, TokensFile};
use crate::config::TokenTask;
use crate::engine::{Clock as _, SystemClock};
use crate::ledger::{Caller, Timestamp};
use crate::store::private_file;

/// Does what is asked, and returns what to print.
///
/// # Errors
/// If the file cannot be read or written, or there is nothing to revoke.
pub fn run(task: TokenTask) -> Result<String> {
    match task {
        TokenTask::New { name, scope, expires, file } => new(&file.path, &name, scope, expires),
        TokenTask::List { json, file } => list(&file.path, json),
        TokenTask::Revoke { name, id, file } => revoke(&file.path, &name, id),
    }
}

/// Makes a token; `expires` is in microseconds from now.
fn new(path: &Path, caller: &Caller, scope: Scope, expires: Option<i64>) -> Result<String> {
    let now = SystemClock.now();
    let after = |lifetime: i64| Timestamp::from_microseconds(now.microseconds().saturating_add(lifetime));
    let expires = expires.map(after);
    let token = Token::generate().context("the system has no random numbers")?;
    change(path, |file| Ok((file.with_token(caller, scope, token.hash(), now, expires)?, ())))?;
    let until = expires.map_or_else(|| "until it is revoked".to_owned(), |expires| format!("until {}", show(expires)));
    let (id, scope, shown) = (token.hash().id(), scope.name(), path.display());
    Ok(format!(
        "made the token {id} of {caller}, with the scope {scope}, valid {until}, in {shown}\n\
         it is shown only this once:\n{}",
        token.reveal()
    ))
}

fn list(path: &Path, json: bool) -> Result<String> {
    let (tokens, now) = (TokensFile::read(path)?.list(), SystemClock.now());
    if json {
        let rows: Vec<Value> = tokens.iter().map(|token| row(token, now)).collect();
        return Ok(json!({ "success": true, "Tokens": rows }).to_string());
    }
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["NAME", "SCOPE", "ID", "CREATED", "EXPIRES", "STATUS"]);
    for token in &tokens {
        let expires = token.expires.map_or_else(|| "never".to_owned(), show);
        let (caller, id) = (token.caller.to_string(), token.id.to_string());
        let status = token.status(now).name().to_owned();
        table.add_row([caller, token.scope.name().to_owned(), id, show(token.created), expires, status]);
    }
    Ok(table.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>().join("\n"))
}

fn row(token: &Listed, now: Timestamp) -> Value {
    json!({
        "Name": &*token.caller,
        "Scope": token.scope.name(),
        "Id": token.id.to_string(),
        "Created": show(token.created),
        "Expires": token.expires.map(show),
        "Revoked": token.revoked.map(show),
        "Status": token.status(now).name(),
    })
}

fn revoke(path: &Path, caller: &Caller, id: Option<TokenId>) -> Result<String> {
    let now = SystemClock.now();
    let count = change(path, |file| {
        let (changed, count) = file.without(caller, id, now)?;
        let which = id.map_or_else(String::new, |id| format!(" with the id {id}"));
        ensure!(count > 0, "{caller} has no valid token{which}; `wallet token list` shows those there are");
        Ok((changed, count))
    })?;
    let tokens = if count == 1 { "1 token".to_owned() } else { format!("{count} tokens") };
    Ok(format!("revoked {tokens} of {caller}"))
}

/// To the second, as the file has it.
fn show(timestamp: Timestamp) -> String {
    let text = timestamp.to_string();
    text.split_once('.').map_or_else(|| text.clone(), |(seconds, _)| format!("{seconds}Z"))
}

/// Changes the file: nobody else changes it meanwhile, and who reads it finds it as it was or as it is then.
fn change<T>(path: &Path, change: impl FnOnce(&TokensFile) -> Result<(TokensFile, T)>) -> Result<T> {
    let path = &follow_links(path);
    let cannot_write = || format!("cannot write the tokens file {}", path.display());
    let mut lock_path = path.clone().into_os_string();
    lock_path.push("-lock");
    // Its mode keeps other users from holding the lock.
    let lock = private_file::open(Path::new(&lock_path)).with_context(cannot_write)?;
    lock.lock().with_context(cannot_write)?;
    let (changed, answer) = change(&TokensFile::read_or_new(path)?)?;
    // Its mode is 0600.
    let mut partial = Builder::new().prefix(".tokens.").tempfile_in(folder(path)).with_context(cannot_write)?;
    partial.write_all(changed.text().as_bytes()).with_context(cannot_write)?;
    if let Ok(before) = path.metadata() {
        keep_owner_and_mode(partial.as_file(), &before).with_context(cannot_write)?;
    }
    partial.as_file().sync_all().with_context(cannot_write)?;
    partial.persist(path).with_context(cannot_write)?;
    sync_name(path).with_context(cannot_write)?;
    Ok(answer)
}

/// Gives a file the owner and mode of the one that it replaces: the service must be able to read it as before.
fn keep_owner_and_mode(file: &File, before: &std::fs::Metadata) -> std::io::Result<()> {
    let made = file.metadata()?;
    if (made.uid(), made.gid()) != (before.uid(), before.gid()) {
        fchown(file, Some(Uid::from_raw(before.uid())), Some(Gid::from_raw(before.gid())))?;
    }
    file.set_permissions(std::fs::Permissions::from_mode(before.permissions().mode()))
}
