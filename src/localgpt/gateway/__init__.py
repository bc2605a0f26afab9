"""The gateway: the only process with provider keys and with the network.

It confines itself, takes keys and calls from the monitor, and speaks to model servers through their own SDKs: one
module a wire protocol (`openai_chat`, `anthropic_messages`). `embedded` is the model server that needs no provider at
all; `weights` fetches its model once. Importing this package imports nothing else.
"""
