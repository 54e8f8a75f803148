//! What the tests on PostgreSQL stand on: its servers and databases.

mod servers;
