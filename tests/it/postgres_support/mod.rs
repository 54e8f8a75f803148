//! What the tests on PostgreSQL stand on: its servers and databases, and the proxy that cuts a connection.

mod cuts;
mod held;
mod servers;
