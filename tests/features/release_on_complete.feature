Feature: Release on complete
  A call is completed with what it really used. Its slots are free at once. What it reserved of a rolling limit shrinks
  to what it used and stays until its window is over. Whoever completes, and however often: nothing is freed twice.

  Background:
    Given the limits:
      | limit              | kind        | capacity | held for |
      | gpt-4o:concurrency | concurrency | 2        | 60 s     |
      | gpt-4o:tpm         | rolling     | 100      | 3 s      |
      | acme:daily_tokens  | rolling     | 1000     | 86400 s  |

  Scenario: The slot of a completed call is free for the next one
    Given call 1 holds 2 of gpt-4o:concurrency
    When call 2 reserves 1 of gpt-4o:concurrency
    Then call 2 is denied: gpt-4o:concurrency has no room
    When call 1 completes
    Then completing call 1 settles it
    When call 3 reserves 2 of gpt-4o:concurrency
    Then call 3 is granted

  Scenario Outline: A slot is free whatever the complete says of it: <amounts>
    Given call 1 holds 1 of gpt-4o:concurrency and 80 of acme:daily_tokens
    When call 1 completes with <amounts>
    Then completing call 1 settles it
    And the limits stand at:
      | limit              | available | reserved |
      | gpt-4o:concurrency | 2         | 0        |
      | acme:daily_tokens  | <free>    | <used>   |

    Examples:
      | amounts                                             | free | used |
      | 1 of gpt-4o:concurrency                             | 920  | 80   |
      | 0 of gpt-4o:concurrency and 30 of acme:daily_tokens | 970  | 30   |
      | 30 of acme:daily_tokens                             | 970  | 30   |
      | 80 of acme:daily_tokens                             | 920  | 80   |
      | 0 of acme:daily_tokens                              | 1000 | 0    |

  Scenario: What shrank keeps the end of its window
    Given call 1 holds 80 of gpt-4o:tpm
    When 1 s passes
    And call 1 completes with 30 of gpt-4o:tpm
    Then the limits stand at:
      | limit      | available | reserved |
      | gpt-4o:tpm | 70        | 30       |
    When 2 s pass
    Then the limits stand at:
      | limit      | available | reserved |
      | gpt-4o:tpm | 100       | 0        |

  Scenario: Only the first complete counts, at whatever replica
    Given a second replica
    And call 1 holds 1 of gpt-4o:concurrency and 80 of acme:daily_tokens
    And call 2 holds 1 of gpt-4o:concurrency
    When at the second replica, call 1 completes with 30 of acme:daily_tokens
    Then completing call 1 settles it
    When call 1 completes with 0 of acme:daily_tokens
    Then completing call 1 changes nothing
    And the limits stand at:
      | limit              | available | reserved |
      | gpt-4o:concurrency | 1         | 1        |
      | acme:daily_tokens  | 970       | 30       |

  Scenario: A late duplicate does not start a completed call again
    Given call 1 holds 1 of gpt-4o:concurrency
    When call 1 completes
    And call 1 reserves 1 of gpt-4o:concurrency
    Then call 1 is refused: it is settled
    And the limits stand at:
      | limit              | available | reserved |
      | gpt-4o:concurrency | 2         | 0        |

  Scenario: The slot of a caller that crashed comes back after its timeout
    Given the limits:
      | limit             | kind        | capacity | held for |
      | gpt-5:concurrency | concurrency | 1        | 1 s      |
    And call 1 holds 1 of gpt-5:concurrency
    When call 2 reserves 1 of gpt-5:concurrency
    Then call 2 is denied: gpt-5:concurrency has no room
    When 1 s passes
    And call 3 reserves 1 of gpt-5:concurrency
    Then call 3 is granted
    When call 1 completes
    Then completing call 1 changes nothing
    And the limits stand at:
      | limit             | available | reserved |
      | gpt-5:concurrency | 0         | 1        |
