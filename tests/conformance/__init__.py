"""Does the engine answer what graphql-core's own tests expect? Its tests are run with the engine in its place."""
