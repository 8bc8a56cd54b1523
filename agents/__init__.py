"""Agents that learn to adapt, and the baselines they are compared with."""

# Before anything else: from the root of the repository Python would take this folder for a package named agents.
if __name__ != "metarl.agents":
    raise ImportError("This folder is installed under another name; write `import metarl.agents`, not `import agents`.")

# Agent name -> its class, imported when the agent is first asked for.
AGENTS: dict[str, str] = {
    "maml": "metarl.agents.maml:MAML",
    "rl2": "metarl.agents.rl2:RL2",
    "varibad": "metarl.agents.varibad:VariBAD",
    "pearl": "metarl.agents.pearl:PEARL",
    "finetune": "metarl.agents.baselines:FineTune",
    "multitask": "metarl.agents.baselines:MultiTask",
    "oracle": "metarl.agents.baselines:Oracle",
}
