//! Who may call this service, as its settings say.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::StartError;
use super::reload::{Files, Reloader};
use crate::access::{Access, Table, TokenError, TokensFile};
use crate::config::Settings;
use crate::engine::{Clock as _, SystemClock};
use crate::telemetry::{AUDIT, chain};

/// The bits of a file's mode that let others than its owner change it.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Who may call. If a file says so, it is read again when it changes.
///
/// # Errors
/// If the tokens file cannot be used.
pub fn of(settings: &Settings, reloader: &mut Reloader) -> Result<Access, StartError> {
    let proxies = settings.access.trusted_proxies.clone();
    let Some(path) = settings.access.tokens_file.clone() else {
        if settings.tls.client_ca.is_none() {
            return Ok(Access::open(proxies));
        }
        tracing::warn!(
            "each certificate of the client CA may do everything: set WALLET_TOKENS_FILE to give them scopes"
        );
        return Ok(Access::restricted(Table::of_any_certificate(), proxies));
    };
    let files = Files::new(vec![path.clone()]);
    let access = Access::restricted(read(&path)?, proxies);
    let reloaded = access.clone();
    reloader.watch(files, move || reload(&reloaded, &path)).map_err(|source| StartError::Signal { source })?;
    Ok(access)
}

/// Reads the tokens file again. If it cannot be used, those who could call still can.
fn reload(access: &Access, path: &Path) {
    let error = match read(path) {
        // A file that was cut off, on a full disk say, must not lock everybody out.
        Ok(table) if table.is_empty() => "it has no tokens and no certificates".to_owned(),
        Ok(table) => return access.replace(table),
        Err(error) => chain(&error),
    };
    tracing::error!(file = %path.display(), error, "the tokens file is not taken: that of before is in force");
}

fn read(path: &Path) -> Result<Table, TokenError> {
    let table = TokensFile::read(path)?.table()?;
    let (tokens, certificates) = table.count(SystemClock.now());
    let file = path.display();
    tracing::info!(target: AUDIT, %file, tokens, certificates, "the tokens file was read");
    if (tokens, certificates) == (0, 0) {
        tracing::warn!(%file, "nobody may call: the tokens file has no valid token; `wallet token new` makes one");
    }
    Ok(table)
}

/// Warns of what an operator may not have meant.
pub fn warn(access: &Access, settings: &Settings, addrs: [SocketAddr; 2]) {
    if access.is_open()
        && let Some(addr) = addrs.iter().find(|addr| !addr.ip().is_loopback())
    {
        tracing::warn!(%addr, "whoever reaches this service may move money: set WALLET_TOKENS_FILE");
    }
    if settings.access.tokens_file.is_some()
        && settings.tls.cert.is_none()
        && let Some(addr) = addrs.iter().find(|addr| !addr.ip().is_loopback())
    {
        tracing::warn!(%addr, "tokens come in plaintext: put a TLS proxy in front, or set WALLET_TLS_CERT");
    }
    if let Some(path) = &settings.access.tokens_file
        && path.metadata().is_ok_and(|file| file.permissions().mode() & WRITABLE_BY_OTHERS != 0)
    {
        tracing::warn!(file = %path.display(), "others can change the tokens file: set its mode to 600");
    }
}
