"""A wallet of a few lines, as a service begins: Flask and sqlite3, a connection a request, a transaction a charge.

Written for the benchmark beside it. `python3 wallet.py USERS OPENING` makes the database that WALLET_DB names.
"""

import os
import sqlite3
import sys

from flask import Flask, g, jsonify, request

SCHEMA = """
create table wallet (user_id integer primary key, balance integer not null check (balance >= 0));
create table entry (
    entry_id integer primary key,
    user_id  integer not null,
    kind     text    not null,
    event_id integer not null,
    amount   integer not null,
    unique (user_id, kind, event_id)
);
"""

app = Flask(__name__)


def database():
    if "database" not in g:
        g.database = sqlite3.connect(os.environ["WALLET_DB"], timeout=30, isolation_level=None)
    return g.database


@app.teardown_appcontext
def close(_):
    if "database" in g:
        g.pop("database").close()


def refused(status, error):
    database().execute("rollback")
    return jsonify(success=False, error=error), status


@app.post("/api/v1/charge")
def charge():
    body = request.get_json()
    user, event, amount = body["UserId"], body["EventId"], round(body["Amount"] * 100)
    db = database()
    db.execute("begin immediate")
    found = db.execute("select balance from wallet where user_id = ?", (user,)).fetchone()
    if found is None:
        return refused(400, "Unknown user")
    (balance,) = found
    known = db.execute(
        "select amount from entry where user_id = ? and kind = 'charge' and event_id = ?", (user, event)
    ).fetchone()
    if known is not None and known != (amount,):
        return refused(409, "Request has a conflict with existing data.")
    if known is None:
        if balance < amount:
            return refused(400, "Account balance is too low")
        balance -= amount
        insert = "insert into entry (user_id, kind, event_id, amount) values (?, 'charge', ?, ?)"
        db.execute(insert, (user, event, amount))
        db.execute("update wallet set balance = ? where user_id = ?", (balance, user))
    db.execute("commit")
    return jsonify(success=True, UserId=user, AccountBalance=balance / 100)


def create(users, opening):
    db = sqlite3.connect(os.environ["WALLET_DB"])
    db.execute(f"pragma journal_mode = {os.environ['WALLET_JOURNAL']}")
    db.executescript(SCHEMA)
    db.executemany("insert into wallet values (?, ?)", ((user, opening) for user in range(users)))
    db.executemany(
        "insert into entry (user_id, kind, event_id, amount) values (?, 'open', 0, ?)",
        ((user, opening) for user in range(users)),
    )
    db.commit()


if __name__ == "__main__":
    create(int(sys.argv[1]), int(sys.argv[2]))
