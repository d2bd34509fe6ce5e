"""What goes to the broker: on disk until it is acknowledged, sent as the plan allows.

::

    what happens --note--> [ queue in the spool ] --take--> [ publisher, plan ] --> link --> PUBACK
                                  | quota                                              |
                                  `--> tombstones (loss)              row goes <-------'
"""
