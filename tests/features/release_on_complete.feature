Feature: Release on complete
  A complete names the amounts that the call really used. Its slots are released at once. Its reservation of a rolling
  limit shrinks to the amount used and expires with its window. A repeated complete, at any replica, releases nothing.

  Background:
    Given the limits:
      | limit              | kind        | capacity | held for |
      | gpt-4o:concurrency | concurrency | 2        | 60 s     |
      | gpt-4o:tpm         | rolling     | 100      | 3 s      |
      | acme:daily_tokens  | rolling     | 1000     | 86400 s  |

  Scenario: A complete releases the slot for the next call
    Given call 1 holds 2 of gpt-4o:concurrency
    When call 2 reserves 1 of gpt-4o:concurrency
    Then call 2 is denied: gpt-4o:concurrency has no room
    When call 1 completes
    Then completing call 1 settles the lease
    When call 3 reserves 2 of gpt-4o:concurrency
    Then call 3 is granted

  Scenario Outline: A complete releases the slot whatever amounts it names: <amounts>
    Given call 1 holds 1 of gpt-4o:concurrency and 80 of acme:daily_tokens
    When call 1 completes with <amounts>
    Then completing call 1 settles the lease
    And the limits show:
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

  Scenario: A reservation that shrank expires with its first window
    Given call 1 holds 80 of gpt-4o:tpm
    When 1 s passes
    And call 1 completes with 30 of gpt-4o:tpm
    Then the limits show:
      | limit      | available | reserved |
      | gpt-4o:tpm | 70        | 30       |
    When 2 s pass
    Then the limits show:
      | limit      | available | reserved |
      | gpt-4o:tpm | 100       | 0        |

  Scenario: Only the first complete counts, at any replica
    Given a second replica
    And call 1 holds 1 of gpt-4o:concurrency and 80 of acme:daily_tokens
    And call 2 holds 1 of gpt-4o:concurrency
    When at the second replica, call 1 completes with 30 of acme:daily_tokens
    Then completing call 1 settles the lease
    When call 1 completes with 0 of acme:daily_tokens
    Then completing call 1 changes nothing
    And the limits show:
      | limit              | available | reserved |
      | gpt-4o:concurrency | 1         | 1        |
      | acme:daily_tokens  | 970       | 30       |

  Scenario: A late duplicate of a reserve does not start a completed call again
    Given call 1 holds 1 of gpt-4o:concurrency
    When call 1 completes
    And call 1 reserves 1 of gpt-4o:concurrency
    Then call 1 is refused: the lease is settled
    And the limits show:
      | limit              | available | reserved |
      | gpt-4o:concurrency | 2         | 0        |

  Scenario: The slot of a crashed caller expires after its timeout
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
    And the limits show:
      | limit             | available | reserved |
      | gpt-5:concurrency | 0         | 1        |
