//! Cell identity codes: the whole pipeline under test. The tests are in `tests/`.
