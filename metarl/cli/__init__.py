"""The command line: ``metarl train | evaluate | compare | render | fewshot | agents | families | check | new-family``.

Each command is a dataclass, from whose fields tyro makes the options, with a method ``run``. Modules are imported where
a command needs them, for ``metarl --help`` should not wait for torch.
"""
