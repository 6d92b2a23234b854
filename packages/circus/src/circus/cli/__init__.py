"""The command lines. This file stays empty of imports: circusctl must start fast."""
